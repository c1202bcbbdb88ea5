// SPDX-License-Identifier: Apache-2.0
// Open-file-description locks (fcntl(2)): taken, waited for, asked about.

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

// The kernel has no wait with a time limit. Those who hold our locks do so for microseconds, or for
// as long as somebody makes a file; then this is how late the news may be.
constexpr int kFirstPauseMs = 1;
constexpr int kLongestPauseMs = 20;
constexpr size_t kFdinfoLimit = 1 << 16;
constexpr size_t kMostNamed = 4;

Result<void> Lock(BorrowedFd fd, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  if (RetryOnEintr([&] { return ::fcntl(fd.get(), F_OFD_SETLK, &lock); }) == -1) {
    if (errno == EAGAIN || errno == EACCES) return Error(Code::kUnavailable, "locked by another");
    return Error::Errno("fcntl F_OFD_SETLK");
  }
  return {};
}

// Does this process hold a lock on the file? The lock itself names no process (its pid is -1); the
// descriptor it was taken with shows it: proc(5), fdinfo, "lock:" and "ino:".
bool HasLockOn(BorrowedFd process, const std::string& inode) {
  auto dir = OpenAt(process, "fdinfo", O_RDONLY | O_DIRECTORY);
  if (!dir) return false;
  auto numbers = ListDirectory(*dir);
  if (!numbers) return false;
  return std::any_of(numbers->begin(), numbers->end(), [&](const std::string& number) {
    auto text = FindFileAt(*dir, number, kFdinfoLimit);
    return text && *text && (*text)->find("lock:") != std::string::npos &&
           (*text)->find(inode) != std::string::npos;
  });
}

// "msb (process 123)"; those of other users stay unknown.
std::string Holders(BorrowedFd fd) {
  auto info = Stat(fd);
  auto proc = OpenAt(Cwd(), "/proc", O_RDONLY | O_DIRECTORY);
  if (!info || !proc) return "";
  std::string inode = Cat("ino:\t", info->st_ino, "\n");
  std::vector<std::string> names;
  auto processes = ListDirectory(*proc);
  if (!processes) return "";
  for (const std::string& pid : *processes) {
    if (!ParseNumber<int>(pid) || names.size() == kMostNamed) continue;
    auto process = OpenAt(*proc, pid, O_RDONLY | O_DIRECTORY);
    if (!process || !HasLockOn(*process, inode)) continue;
    std::string name = ReadFileAt(*process, "comm", kFdinfoLimit).ok()
                           ? *ReadFileAt(*process, "comm", kFdinfoLimit)
                           : std::string();
    while (!name.empty() && name.back() == '\n') name.pop_back();
    names.push_back(Cat(Escape(name, 32), " (process ", pid, ")"));
  }
  return Join(names, ", ");
}

Result<void> Wait(BorrowedFd fd, short type, Deadline deadline) {
  for (int pause = kFirstPauseMs;; pause = std::min(pause * 2, kLongestPauseMs)) {
    auto locked = Lock(fd, type);
    if (locked || locked.error().code() != Code::kUnavailable) return locked;
    if (deadline.Passed()) break;
    int left = deadline.PollTimeout();
    ::poll(nullptr, 0, left < 0 ? pause : std::min(pause, left));
  }
  std::string holders = Holders(fd);
  return Error(Code::kDeadlineExceeded,
               Cat("the lock is held by ", holders.empty() ? "another process" : holders))
      .Remedy("wait for it to end, or end it");
}

Result<bool> StandsInTheWayOf(BorrowedFd fd, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_GETLK, &lock) == -1) return Error::Errno("fcntl F_OFD_GETLK");
  return lock.l_type != F_UNLCK;
}

}  // namespace

Result<FileLock> FileLock::TryExclusive(UniqueFd fd) {
  TRY(Lock(fd, F_WRLCK));
  return FileLock(std::move(fd));
}

Result<FileLock> FileLock::TryShared(UniqueFd fd) {
  TRY(Lock(fd, F_RDLCK));
  return FileLock(std::move(fd));
}

Result<FileLock> FileLock::WaitExclusive(UniqueFd fd, Deadline deadline) {
  TRY(Wait(fd, F_WRLCK, deadline));
  return FileLock(std::move(fd));
}

Result<FileLock> FileLock::WaitShared(UniqueFd fd, Deadline deadline) {
  TRY(Wait(fd, F_RDLCK, deadline));
  return FileLock(std::move(fd));
}

Result<bool> FileLock::IsHeld(BorrowedFd fd) { return StandsInTheWayOf(fd, F_RDLCK); }

Result<bool> FileLock::IsHeldOrShared(BorrowedFd fd) { return StandsInTheWayOf(fd, F_WRLCK); }

}  // namespace msb::sys
