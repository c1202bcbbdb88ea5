// SPDX-License-Identifier: Apache-2.0
// File descriptors: UniqueFd owns one, BorrowedFd is a parameter that does not.

#pragma once

#include <unistd.h>

#include <utility>

namespace msb {

class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

  // Never retries close() on EINTR: Linux has already freed the number, and another thread may own
  // it.
  void Reset(int fd = -1) {
    if (int old = std::exchange(fd_, fd); old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

class BorrowedFd {
 public:
  BorrowedFd(const UniqueFd& fd) : fd_(fd.get()) {}  // NOLINT(google-explicit-constructor)
  BorrowedFd(UniqueFd&&) = delete;                   // Would outlive its owner.
  static BorrowedFd Raw(int fd) {
    return BorrowedFd(fd);
  }  // AT_FDCWD, stdio, fds from a C library.

  int get() const { return fd_; }

 private:
  explicit BorrowedFd(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace msb
