// SPDX-License-Identifier: Apache-2.0
// Files by directory descriptor. One function a call, named for it, with three promises: EINTR is
// retried where that is right, every new descriptor is close-on-exec, and the error names the call
// and its operand.

#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

inline BorrowedFd Cwd() { return BorrowedFd::Raw(AT_FDCWD); }

Result<UniqueFd> OpenAt(BorrowedFd dir, const std::string& path, int flags, mode_t mode = 0);

// openat2() with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS and `more` (linux/openat2.h): for every
// path that comes from an image or a user. With RESOLVE_IN_ROOT in `more`, absolute links begin at
// `dir` instead of being refused.
Result<UniqueFd> OpenBeneath(BorrowedFd dir, const std::string& path, int flags, mode_t mode = 0,
                             uint64_t more = 0);

// The pipe or character device that `fd` is, opened anew for writing, where no write waits: whether
// one does is a property of the description, which others have too. kUnimplemented for other files.
Result<UniqueFd> OpenWithoutWaiting(BorrowedFd fd);

// 0 bytes: end of file. EAGAIN is an error with sys_errno() EAGAIN.
Result<size_t> ReadSome(BorrowedFd fd, std::span<std::byte> buffer);
Result<size_t> ReadSomeAt(BorrowedFd fd, std::span<std::byte> buffer, off_t offset);
// Fails with kDataLoss when the file ends first.
Result<void> ReadExactlyAt(BorrowedFd fd, std::span<std::byte> buffer, off_t offset);
Result<size_t> WriteSome(BorrowedFd fd, std::span<const std::byte> bytes);
Result<void> WriteAll(BorrowedFd fd, std::span<const std::byte> bytes);
Result<void> WriteAll(BorrowedFd fd, std::string_view text);
Result<void> WriteAllAt(BorrowedFd fd, std::span<const std::byte> bytes, off_t offset);

// preadv() and pwritev(), which may move less; 0 bytes read: end of file. At most 1024 parts.
Result<size_t> ReadPartsAt(BorrowedFd fd, std::span<const iovec> parts, off_t offset);
Result<size_t> WritePartsAt(BorrowedFd fd, std::span<const iovec> parts, off_t offset);
// fallocate(): FALLOC_FL_* of <linux/falloc.h>.
Result<void> Allocate(BorrowedFd fd, int mode, off_t offset, off_t size);

// The whole file, which must not be longer than `limit`.
Result<std::string> ReadAll(BorrowedFd fd, size_t limit);
Result<std::string> ReadFileAt(BorrowedFd dir, const std::string& path, size_t limit);
// nullopt when there is no such file.
Result<std::optional<std::string>> FindFileAt(BorrowedFd dir, const std::string& path,
                                              size_t limit);

// Replaces `name` in `dir` by write to a temporary name, fsync, rename, fsync of the directory.
// After a crash either the old or the new content is there; a leftover ".tmp-*" may be, too.
Result<void> ReplaceFileAt(BorrowedFd dir, const std::string& name, std::string_view content,
                           mode_t mode = 0600);

Result<void> Truncate(BorrowedFd fd, off_t size);
Result<struct stat> Stat(BorrowedFd fd);
// AT_SYMLINK_NOFOLLOW; nullopt when there is nothing of that name.
Result<std::optional<struct stat>> FindAt(BorrowedFd dir, const std::string& path);
Result<void> MkdirAt(BorrowedFd dir, const std::string& path, mode_t mode);
// Every missing directory of `path`; opens the last.
Result<UniqueFd> EnsureDirectory(BorrowedFd dir, const std::string& path, mode_t mode);
// Makes `path` (0700) if it is not there; one that anybody but its owner, who is the caller, can
// reach is refused.
Result<UniqueFd> OpenPrivateDirectory(const std::string& path);
Result<void> UnlinkAt(BorrowedFd dir, const std::string& path, int flags = 0);
Result<void> RenameAt(BorrowedFd from_dir, const std::string& from, BorrowedFd to_dir,
                      const std::string& to, unsigned flags = 0);
Result<void> SymlinkAt(const std::string& target, BorrowedFd dir, const std::string& path);
Result<std::string> ReadLinkAt(BorrowedFd dir, const std::string& path);
// Now as the time of its last access and change.
Result<void> Touch(BorrowedFd fd);
Result<void> Sync(BorrowedFd fd);
Result<void> DataSync(BorrowedFd fd);

// Names in the directory without "." and "..", sorted.
Result<std::vector<std::string>> ListDirectory(BorrowedFd dir);
// Removes `name` in `dir` and everything beneath it, never following a link; nothing there is fine.
Result<void> RemoveTreeAt(BorrowedFd dir, const std::string& name);

// O_TMPFILE in `dir`: a file without a name, gone with its last descriptor.
Result<UniqueFd> UnnamedFile(BorrowedFd dir, mode_t mode = 0600);
// Gives an O_TMPFILE file a name that is not taken (linkat through /proc/self/fd, which needs no
// capability).
Result<void> NameFile(BorrowedFd file, BorrowedFd dir, const std::string& name);
// Puts a whole file in the place of `name`, for what can be found out again: whoever dies on the
// way leaves nothing, where ReplaceFileAt() may leave a file. For a moment there may be none, and
// after a crash of the host one that is empty.
Result<void> RememberFileAt(BorrowedFd dir, const std::string& name, std::string_view content,
                            mode_t mode = 0600);
Result<UniqueFd> MemFd(const char* name, unsigned flags = 0);
Result<void> AddSeals(BorrowedFd memfd, int seals);
Result<UniqueFd> Duplicate(BorrowedFd fd);
// F_GETFL: the mode it was opened with and its status flags.
Result<int> StatusFlags(BorrowedFd fd);
Result<void> SetNonBlocking(BorrowedFd fd, bool on);
Result<void> SetCloseOnExec(BorrowedFd fd, bool on);

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
Result<Pipe> MakePipe(int flags = 0);

// A non-blocking eventfd of count 0.
Result<UniqueFd> EventFd();

// An open-file-description lock on the whole file. Held while the object (and no other descriptor
// of the same description) lives; asked by others without taking it.
class [[nodiscard]] FileLock {
 public:
  // kUnavailable when another holds it.
  static Result<FileLock> TryExclusive(UniqueFd fd);
  static Result<FileLock> TryShared(UniqueFd fd);
  // kDeadlineExceeded with the names of the processes that hold it.
  static Result<FileLock> WaitExclusive(UniqueFd fd, Deadline deadline);
  static Result<FileLock> WaitShared(UniqueFd fd, Deadline deadline);
  // Is an exclusive lock held by anyone? Does not take it (F_OFD_GETLK).
  static Result<bool> IsHeld(BorrowedFd fd);
  // The same for a lock of either kind.
  static Result<bool> IsHeldOrShared(BorrowedFd fd);

  BorrowedFd fd() const { return fd_; }
  UniqueFd Release() && { return std::move(fd_); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace msb::sys
