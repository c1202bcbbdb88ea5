// SPDX-License-Identifier: Apache-2.0
// The image being written: a cursor that moves forward through a regular file, with large writes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::rootfs {

class ImageFile {
 public:
  // `out` outlives this object. Nothing before `start` is written until WriteAt is.
  ImageFile(BorrowedFd out, uint64_t start, uint64_t max_bytes);

  uint64_t position() const { return position_; }
  // The block at the cursor, which is at a block's start.
  uint32_t block() const;

  Result<void> Append(std::span<const std::byte> bytes);
  // Zeros; a long run becomes a hole of the file.
  Result<void> AppendZeros(uint64_t count);
  Result<void> AlignToBlock();

  // Flushes, and makes the file end at the cursor.
  Result<void> Finish();
  Result<void> WriteAt(uint64_t offset, std::span<const std::byte> bytes);

 private:
  Result<void> Grow(uint64_t count);
  Result<void> Flush(std::span<const std::byte> then = {});

  BorrowedFd out_;
  uint64_t max_bytes_;
  uint64_t position_;  // Of the next byte appended.
  uint64_t flushed_;   // Where buffer_ begins in the file.
  std::vector<std::byte> buffer_;
};

}  // namespace msb::rootfs
