// SPDX-License-Identifier: Apache-2.0
// Appending with rotation.

#include "sandbox/log_file.h"

#include <fcntl.h>

#include "base/text.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

Result<UniqueFd> OpenNew(BorrowedFd dir, const std::string& name) {
  return sys::OpenAt(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_EXCL | O_NOFOLLOW, 0600);
}

}  // namespace

Result<LogFile> LogFile::Create(BorrowedFd dir, std::string name, uint64_t limit) {
  UniqueFd file = TRY(OpenNew(dir, name));
  return LogFile(dir, std::move(name), limit, std::move(file));
}

Result<void> LogFile::Append(std::span<const std::byte> bytes) {
  if (size_ > 0 && size_ + bytes.size() > limit_) TRY(Rotate());
  TRY(sys::WriteAll(file_, bytes));
  size_ += bytes.size();
  return {};
}

Result<void> LogFile::Rotate() {
  TRY(sys::RenameAt(dir_, name_, dir_, Cat(name_, ".1")));
  file_ = TRY(OpenNew(dir_, name_));
  size_ = 0;
  return {};
}

}  // namespace msb::sandbox
