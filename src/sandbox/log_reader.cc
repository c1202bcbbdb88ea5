// SPDX-License-Identifier: Apache-2.0
// Follows the names of a log that rotates.

#include "sandbox/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/text.h"
#include "sandbox/log_tail.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

Result<UniqueFd> OpenLog(BorrowedFd dir, const std::string& name) {
  auto file = sys::OpenAt(dir, name, O_RDONLY | O_NOFOLLOW);
  if (file || file.error().sys_errno() != ENOENT) return file;
  return UniqueFd();
}

Result<bool> SameFile(BorrowedFd one, BorrowedFd other) {
  struct stat a = TRY(sys::Stat(one)), b = TRY(sys::Stat(other));
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Result<bool> EndsWithNewline(BorrowedFd file) {
  off_t size = TRY(sys::Stat(file)).st_size;
  std::byte last[1] = {std::byte{'\n'}};
  if (size > 0) TRY(sys::ReadExactlyAt(file, last, size - 1));
  return last[0] == std::byte{'\n'};
}

}  // namespace

Result<std::optional<LogReader>> LogReader::Open(BorrowedFd dir, std::string name) {
  LogReader reader(dir, std::move(name));
  TRY(reader.TakeFiles());
  if (reader.files_.empty()) return std::optional<LogReader>();
  return std::optional(std::move(reader));
}

// The files that the names stand for and that we do not have, behind those that we have.
Result<void> LogReader::TakeFiles() {
  // The newer first: when it is rotated before the next line, both are the same file. Between the
  // two steps of a rotation there is the older alone.
  UniqueFd newer = TRY(OpenLog(dir_, name_));
  if (newer && !files_.empty() && TRY(SameFile(files_.back(), newer))) return {};
  UniqueFd older = TRY(OpenLog(dir_, Cat(name_, ".1")));
  bool have_older = !older || (newer && TRY(SameFile(older, newer))) ||
                    (!files_.empty() && TRY(SameFile(files_.back(), older)));
  if (!have_older) files_.push_back(std::move(older));
  if (newer) files_.push_back(std::move(newer));
  return {};
}

Result<void> LogReader::SkipToTail(uint64_t lines) {
  uint64_t wanted = lines;
  for (size_t i = files_.size(); i-- > 0;) {
    uint64_t found = TRY(SeekToTail(files_[i], wanted));
    // A line that was cut by the rotation began in the file before.
    bool whole = ::lseek(files_[i].get(), 0, SEEK_CUR) == 0;
    bool cut = whole && found > 0 && i > 0 && !TRY(EndsWithNewline(files_[i - 1]));
    wanted -= found;
    if (cut) wanted++;
  }
  return {};
}

Result<void> LogReader::CopyTo(const std::function<Result<void>(std::string_view)>& take) {
  std::array<char, 64 * 1024> buffer;
  while (true) {
    size_t count = TRY(sys::ReadSome(files_.front(), std::as_writable_bytes(std::span(buffer))));
    if (count > 0) {
      TRY(take(std::string_view(buffer.data(), count)));
      continue;
    }
    // The last one was at its end before the names were looked at: what came in between is read
    // before the next file.
    if (files_.size() == 1) {
      TRY(TakeFiles());
      if (files_.size() == 1) return {};
      continue;
    }
    files_.erase(files_.begin());
  }
}

}  // namespace msb::sandbox
