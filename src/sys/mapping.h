// SPDX-License-Identifier: Apache-2.0
// An mmap()ed region that munmap()s itself.

#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

class [[nodiscard]] Mapping {
 public:
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), size_}; }

 private:
  friend Result<Mapping> MapFile(BorrowedFd, size_t, off_t, int, int);
  friend Result<Mapping> MapAnonymous(size_t, int, int);
  Mapping(void* data, size_t size) : data_(data), size_(size) {}
  void* data_;
  size_t size_;
};

Result<Mapping> MapFile(BorrowedFd fd, size_t size, off_t offset, int prot, int flags);
Result<Mapping> MapAnonymous(size_t size, int prot, int flags = MAP_PRIVATE);

}  // namespace msb::sys
