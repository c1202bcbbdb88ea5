// SPDX-License-Identifier: Apache-2.0
// Names in directories: making, finding, replacing, listing, removing.

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "sys/file.h"
#include "sys/random.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

// A user's tree may be deeper than this; one that is was made to exhaust us.
constexpr int kMaxDepth = 512;

Result<void> RemoveContents(BorrowedFd dir, int depth) {
  if (depth > kMaxDepth) return Error(Code::kResourceExhausted, "directory tree is too deep");
  for (const std::string& name : TRY(ListDirectory(dir))) {
    if (::unlinkat(dir.get(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM && errno != EACCES)
      return Error::Errno(Cat("unlink ", Escape(name)));
    auto sub = OpenAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    // Another is removing the same tree.
    if (!sub && sub.error().sys_errno() == ENOENT) continue;
    // EACCES and EPERM mean a directory that is not ours to enter, or a file not ours to remove.
    if (!sub) return std::move(sub).error();
    TRY(RemoveContents(*sub, depth + 1));
    if (::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR) == -1 && errno != ENOENT)
      return Error::Errno(Cat("rmdir ", Escape(name)));
  }
  return {};
}

}  // namespace

Result<std::optional<struct stat>> FindAt(BorrowedFd dir, const std::string& path) {
  struct stat st;
  if (::fstatat(dir.get(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return std::optional(st);
  if (errno == ENOENT) return std::optional<struct stat>();
  return Error::Errno(Cat("stat ", Escape(path)));
}

Result<void> MkdirAt(BorrowedFd dir, const std::string& path, mode_t mode) {
  if (::mkdirat(dir.get(), path.c_str(), mode) == -1)
    return Error::Errno(Cat("mkdir ", Escape(path)));
  return {};
}

Result<UniqueFd> EnsureDirectory(BorrowedFd dir, const std::string& path, mode_t mode) {
  auto whole = OpenAt(dir, path, O_RDONLY | O_DIRECTORY);
  if (whole || whole.error().sys_errno() != ENOENT) return whole;
  for (size_t at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1))
    if (::mkdirat(dir.get(), path.substr(0, at).c_str(), mode) == -1 && errno != EEXIST)
      return Error::Errno(Cat("mkdir ", Escape(path.substr(0, at))));
  if (::mkdirat(dir.get(), path.c_str(), mode) == -1 && errno != EEXIST)
    return Error::Errno(Cat("mkdir ", Escape(path)));
  return OpenAt(dir, path, O_RDONLY | O_DIRECTORY);
}

Result<UniqueFd> OpenPrivateDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == -1 && errno != EEXIST)
    return Error::Errno(Cat("mkdir ", path));
  UniqueFd dir = TRY(OpenAt(Cwd(), path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  auto info = TRY(Stat(dir));
  if (info.st_uid != ::geteuid() || (info.st_mode & 077) != 0)
    return Error(Code::kFailedPrecondition, Cat(path, " is not private to its owner"))
        .Remedy(Cat("remove it, or: chown root ", path, "; chmod 700 ", path));
  return dir;
}

Result<void> UnlinkAt(BorrowedFd dir, const std::string& path, int flags) {
  if (::unlinkat(dir.get(), path.c_str(), flags) == -1)
    return Error::Errno(Cat(flags == AT_REMOVEDIR ? "rmdir " : "unlink ", Escape(path)));
  return {};
}

Result<void> RenameAt(BorrowedFd from_dir, const std::string& from, BorrowedFd to_dir,
                      const std::string& to, unsigned flags) {
  if (::renameat2(from_dir.get(), from.c_str(), to_dir.get(), to.c_str(), flags) == -1)
    return Error::Errno(Cat("rename ", Escape(from), " to ", Escape(to)));
  return {};
}

Result<void> SymlinkAt(const std::string& target, BorrowedFd dir, const std::string& path) {
  if (::symlinkat(target.c_str(), dir.get(), path.c_str()) == -1)
    return Error::Errno(Cat("symlink ", Escape(path)));
  return {};
}

Result<std::string> ReadLinkAt(BorrowedFd dir, const std::string& path) {
  std::string target(4096, '\0');
  ssize_t n = ::readlinkat(dir.get(), path.c_str(), target.data(), target.size());
  if (n == -1) return Error::Errno(Cat("readlink ", Escape(path)));
  target.resize(static_cast<size_t>(n));
  return target;
}

Result<void> ReplaceFileAt(BorrowedFd dir, const std::string& name, std::string_view content,
                           mode_t mode) {
  std::string temporary = Cat(".tmp-", RandomId(8));
  auto fd = TRY(OpenAt(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  auto finish = [&]() -> Result<void> {
    TRY(WriteAll(fd, content));
    TRY(Sync(fd));
    TRY(RenameAt(dir, temporary, dir, name));
    return Sync(dir);
  };
  auto done = finish();
  if (!done) ::unlinkat(dir.get(), temporary.c_str(), 0);
  return std::move(done).Context(Cat("replace ", Escape(name)));
}

Result<std::vector<std::string>> ListDirectory(BorrowedFd dir) {
  // A descriptor of its own: readdir() moves the position and closedir() closes.
  auto fd = TRY(OpenAt(dir, ".", O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), &::closedir);
  if (stream == nullptr) return Error::Errno("fdopendir");
  fd.Release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Error::Errno("readdir");
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> RemoveTreeAt(BorrowedFd dir, const std::string& name) {
  if (::unlinkat(dir.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  auto tree = OpenAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!tree && tree.error().sys_errno() == ENOENT) return {};
  if (!tree) return std::move(tree).error();
  TRY(RemoveContents(*tree, 0).Context(Cat("remove ", Escape(name))));
  if (::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR) == -1 && errno != ENOENT)
    return Error::Errno(Cat("rmdir ", Escape(name)));
  return {};
}

}  // namespace msb::sys
