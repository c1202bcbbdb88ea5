// SPDX-License-Identifier: Apache-2.0
#include "programs/microbox/profile_file.h"

#include <cerrno>

#include "base/text.h"
#include "jail/box/profile.h"
#include "sys/file.h"
#include "sys/random.h"

namespace msb::microbox {

Result<std::vector<box::CallRule>> LoadProfile(const std::string& path) {
  auto load = [&]() -> Result<std::vector<box::CallRule>> {
    auto text = sys::ReadFileAt(sys::Cwd(), path, box::kMaxProfileBytes);
    if (!text) return std::move(text).error().Remedy("name a file that --learn wrote");
    return box::ParseProfile(*text);
  };
  auto rules = TRY(load().Context(Cat("--profile ", Escape(path, 256))));
  for (box::CallRule& rule : rules) rule.origin = Cat(Escape(path, 256), " ", rule.origin);
  return rules;
}

namespace {

Result<void> TryToWrite(BorrowedFd directory) {
  auto unnamed = sys::UnnamedFile(directory, 0644);
  if (unnamed) return {};
  if (unnamed.error().sys_errno() != EOPNOTSUPP) return std::move(unnamed).error();
  // Not every file system has files without names.
  std::byte random[8];
  sys::FillRandom(random);
  std::string name = Cat(".tmp-", Hex(random));
  UniqueFd made = TRY(sys::OpenAt(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return sys::UnlinkAt(directory, name);
}

}  // namespace

Result<LearntFile> LearntFile::Prepare(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  auto prepare = [&]() -> Result<LearntFile> {
    if (name.empty() || name == "." || name == "..")
      return Error(Code::kInvalidArgument, "it is a directory");
    UniqueFd dir = TRY(sys::OpenAt(sys::Cwd(), directory, O_RDONLY | O_DIRECTORY));
    auto there = TRY(sys::FindAt(dir, name));
    if (there && !S_ISREG(there->st_mode))
      return Error(Code::kInvalidArgument, "it is there, and no regular file");
    TRY(TryToWrite(dir));
    return LearntFile(path, name, std::move(dir));
  };
  return prepare()
      .Context(Cat("--learn ", Escape(path, 256)))
      .Remedy("name a file in a directory that you can write to");
}

Result<void> LearntFile::Write(std::string_view text) const {
  return sys::ReplaceFileAt(directory_, name_, text, 0644)
      .Context(Cat("--learn ", Escape(path_, 256)));
}

}  // namespace msb::microbox
