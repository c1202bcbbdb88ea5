// SPDX-License-Identifier: Apache-2.0
// Opening, reading, writing.

#include "sys/file.h"

#include <linux/openat2.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/mapping.h"
#include "sys/retry.h"

namespace msb::sys {

Result<Mapping> MapFile(BorrowedFd fd, size_t size, off_t offset, int prot, int flags) {
  void* data = ::mmap(nullptr, size, prot, flags, fd.get(), offset);
  if (data == MAP_FAILED) return Error::Errno("mmap");
  return Mapping(data, size);
}

Result<Mapping> MapAnonymous(size_t size, int prot, int flags) {
  void* data = ::mmap(nullptr, size, prot, flags | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return Error::Errno(Cat("mmap ", size, " bytes"));
  return Mapping(data, size);
}

Result<UniqueFd> OpenAt(BorrowedFd dir, const std::string& path, int flags, mode_t mode) {
  int fd = RetryOnEintr([&] { return ::openat(dir.get(), path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd == -1) return Error::Errno(Cat("open ", Escape(path)));
  return UniqueFd(fd);
}

Result<UniqueFd> OpenBeneath(BorrowedFd dir, const std::string& path, int flags, mode_t mode,
                             uint64_t more) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  // The kernel refuses a mode where nothing can be created.
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) how.mode = mode;
  // One of the two: absolute links are refused, or begin at `dir`.
  how.resolve = RESOLVE_NO_MAGICLINKS | more;
  if ((more & RESOLVE_IN_ROOT) == 0) how.resolve |= RESOLVE_BENEATH;
  // EAGAIN: the tree was renamed while it was walked, and the walk could not be proven safe.
  long fd = -1;
  for (int attempt = 0; attempt < 128; attempt++) {
    fd = ::syscall(SYS_openat2, dir.get(), path.c_str(), &how, sizeof how);
    if (fd != -1 || (errno != EAGAIN && errno != EINTR)) break;
  }
  if (fd == -1) return Error::Errno(Cat("openat2 ", Escape(path)));
  return UniqueFd(static_cast<int>(fd));
}

Result<size_t> ReadSome(BorrowedFd fd, std::span<std::byte> buffer) {
  ssize_t n = RetryOnEintr([&] { return ::read(fd.get(), buffer.data(), buffer.size()); });
  if (n == -1) return Error::Errno("read");
  return static_cast<size_t>(n);
}

Result<size_t> ReadSomeAt(BorrowedFd fd, std::span<std::byte> buffer, off_t offset) {
  ssize_t n = RetryOnEintr([&] { return ::pread(fd.get(), buffer.data(), buffer.size(), offset); });
  if (n == -1) return Error::Errno(Cat("pread at ", offset));
  return static_cast<size_t>(n);
}

Result<void> ReadExactlyAt(BorrowedFd fd, std::span<std::byte> buffer, off_t offset) {
  while (!buffer.empty()) {
    size_t n = TRY(ReadSomeAt(fd, buffer, offset));
    if (n == 0) return Error(Code::kDataLoss, Cat("file ends at ", offset));
    buffer = buffer.subspan(n);
    offset += static_cast<off_t>(n);
  }
  return {};
}

Result<size_t> WriteSome(BorrowedFd fd, std::span<const std::byte> bytes) {
  ssize_t n = RetryOnEintr([&] { return ::write(fd.get(), bytes.data(), bytes.size()); });
  if (n == -1) return Error::Errno("write");
  return static_cast<size_t>(n);
}

Result<void> WriteAll(BorrowedFd fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) bytes = bytes.subspan(TRY(WriteSome(fd, bytes)));
  return {};
}

Result<void> WriteAll(BorrowedFd fd, std::string_view text) {
  return WriteAll(fd, std::as_bytes(std::span(text.data(), text.size())));
}

Result<void> WriteAllAt(BorrowedFd fd, std::span<const std::byte> bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t n =
        RetryOnEintr([&] { return ::pwrite(fd.get(), bytes.data(), bytes.size(), offset); });
    if (n == -1) return Error::Errno(Cat("pwrite at ", offset));
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
  return {};
}

Result<size_t> ReadPartsAt(BorrowedFd fd, std::span<const iovec> parts, off_t offset) {
  ssize_t n = RetryOnEintr(
      [&] { return ::preadv(fd.get(), parts.data(), static_cast<int>(parts.size()), offset); });
  if (n == -1) return Error::Errno(Cat("preadv at ", offset));
  return static_cast<size_t>(n);
}

Result<size_t> WritePartsAt(BorrowedFd fd, std::span<const iovec> parts, off_t offset) {
  ssize_t n = RetryOnEintr(
      [&] { return ::pwritev(fd.get(), parts.data(), static_cast<int>(parts.size()), offset); });
  if (n == -1) return Error::Errno(Cat("pwritev at ", offset));
  return static_cast<size_t>(n);
}

Result<void> Allocate(BorrowedFd fd, int mode, off_t offset, off_t size) {
  if (RetryOnEintr([&] { return ::fallocate(fd.get(), mode, offset, size); }) == -1)
    return Error::Errno(Cat("fallocate ", size, " bytes at ", offset));
  return {};
}

Result<std::string> ReadAll(BorrowedFd fd, size_t limit) {
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    size_t n = TRY(ReadSome(fd, std::as_writable_bytes(std::span(buffer))));
    if (n == 0) return text;
    if (text.size() + n > limit)
      return Error(Code::kResourceExhausted, Cat("file is longer than ", limit, " bytes"));
    text.append(buffer, n);
  }
}

Result<std::string> ReadFileAt(BorrowedFd dir, const std::string& path, size_t limit) {
  auto fd = TRY(OpenAt(dir, path, O_RDONLY));
  return ReadAll(fd, limit).Context(Escape(path));
}

Result<std::optional<std::string>> FindFileAt(BorrowedFd dir, const std::string& path,
                                              size_t limit) {
  auto text = ReadFileAt(dir, path, limit);
  if (text) return std::optional(*std::move(text));
  if (text.error().sys_errno() == ENOENT) return std::optional<std::string>();
  return std::move(text).error();
}

Result<void> Truncate(BorrowedFd fd, off_t size) {
  if (RetryOnEintr([&] { return ::ftruncate(fd.get(), size); }) == -1)
    return Error::Errno(Cat("ftruncate to ", size));
  return {};
}

Result<struct stat> Stat(BorrowedFd fd) {
  struct stat st;
  if (::fstat(fd.get(), &st) == -1) return Error::Errno("fstat");
  return st;
}

Result<void> Sync(BorrowedFd fd) {
  if (RetryOnEintr([&] { return ::fsync(fd.get()); }) == -1) return Error::Errno("fsync");
  return {};
}

Result<void> DataSync(BorrowedFd fd) {
  if (RetryOnEintr([&] { return ::fdatasync(fd.get()); }) == -1) return Error::Errno("fdatasync");
  return {};
}

Result<UniqueFd> UnnamedFile(BorrowedFd dir, mode_t mode) {
  return OpenAt(dir, ".", O_TMPFILE | O_RDWR, mode);
}

Result<void> NameFile(BorrowedFd file, BorrowedFd dir, const std::string& name) {
  std::string link = Cat("/proc/self/fd/", file.get());
  if (::linkat(AT_FDCWD, link.c_str(), dir.get(), name.c_str(), AT_SYMLINK_FOLLOW) == -1)
    return Error::Errno(Cat("linkat ", Escape(name)));
  return {};
}

Result<void> RememberFileAt(BorrowedFd dir, const std::string& name, std::string_view content,
                            mode_t mode) {
  UniqueFd file = TRY(UnnamedFile(dir, mode));
  TRY(WriteAll(file, content));
  auto old = UnlinkAt(dir, name);
  if (!old && old.error().sys_errno() != ENOENT) return old;
  auto named = NameFile(file, dir, name);
  // Another one has just found out the same.
  if (!named && named.error().sys_errno() == EEXIST) return {};
  return named;
}

Result<UniqueFd> MemFd(const char* name, unsigned flags) {
  int fd = ::memfd_create(name, flags | MFD_CLOEXEC);
  if (fd == -1) return Error::Errno(Cat("memfd_create ", name));
  return UniqueFd(fd);
}

Result<void> AddSeals(BorrowedFd memfd, int seals) {
  if (::fcntl(memfd.get(), F_ADD_SEALS, seals) == -1) return Error::Errno("fcntl F_ADD_SEALS");
  return {};
}

Result<UniqueFd> Duplicate(BorrowedFd fd) {
  int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  if (copy == -1) return Error::Errno("fcntl F_DUPFD_CLOEXEC");
  return UniqueFd(copy);
}

Result<UniqueFd> OpenWithoutWaiting(BorrowedFd fd) {
  auto info = TRY(Stat(fd));
  if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode))
    return Error(Code::kUnimplemented, "neither a pipe nor a character device");
  return OpenAt(Cwd(), Cat("/proc/self/fd/", fd.get()), O_WRONLY | O_NONBLOCK | O_NOCTTY);
}

Result<int> StatusFlags(BorrowedFd fd) {
  int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags == -1) return Error::Errno("fcntl F_GETFL");
  return flags;
}

Result<void> SetNonBlocking(BorrowedFd fd, bool on) {
  int flags = TRY(StatusFlags(fd));
  if (::fcntl(fd.get(), F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == -1)
    return Error::Errno("fcntl F_SETFL");
  return {};
}

Result<void> SetCloseOnExec(BorrowedFd fd, bool on) {
  if (::fcntl(fd.get(), F_SETFD, on ? FD_CLOEXEC : 0) == -1) return Error::Errno("fcntl F_SETFD");
  return {};
}

Result<void> Touch(BorrowedFd fd) {
  if (::futimens(fd.get(), nullptr) == -1) return Error::Errno("futimens");
  return {};
}

Result<Pipe> MakePipe(int flags) {
  int fds[2];
  if (::pipe2(fds, flags | O_CLOEXEC) == -1) return Error::Errno("pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<UniqueFd> EventFd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return Error::Errno("eventfd");
  return fd;
}

}  // namespace msb::sys
