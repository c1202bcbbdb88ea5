// SPDX-License-Identifier: Apache-2.0
// The bytes of an archive after decompression, with a limit, a tap and progress.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::rootfs {

// Where bytes come from: a file, or a decompressor on top of one.
class ByteProducer {
 public:
  virtual ~ByteProducer() = default;
  // At least one byte into `to`, which is not empty; 0 at the end. A truncated compressed stream is
  // an error, never an end.
  virtual Result<size_t> Produce(std::span<std::byte> to) = 0;
};

std::unique_ptr<ByteProducer> ProduceFromFile(BorrowedFd file);
// For tests and fuzzing. `bytes` outlives it.
std::unique_ptr<ByteProducer> ProduceFromMemory(std::span<const std::byte> bytes);
// Looks at the first bytes: gzip and zstd are decompressed, xz and bzip2 refused by name, anything
// else handed through.
Result<std::unique_ptr<ByteProducer>> Decompressed(std::unique_ptr<ByteProducer> from);

class InputStream {
 public:
  struct Watchers {
    uint64_t max_bytes;
    std::function<void(std::span<const std::byte>)> tap;   // May be empty.
    std::function<Result<void>(uint64_t bytes)> progress;  // May be empty.
  };
  InputStream(std::unique_ptr<ByteProducer> from, Watchers watchers);

  // The next `count` bytes in one piece, consumed; fewer only at the end of the input. `count` is
  // at most kMaxPiece. Valid until the next call.
  static constexpr size_t kMaxPiece = 4096;
  Result<std::span<const std::byte>> Take(size_t count);
  // Between 1 and `most` bytes, consumed; none at the end of the input. Valid until the next call.
  Result<std::span<const std::byte>> TakeSome(uint64_t most);

  uint64_t consumed() const { return produced_ - (end_ - begin_); }

 private:
  Result<void> Fill();

  std::unique_ptr<ByteProducer> from_;
  Watchers watchers_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;  // The unread bytes are buffer_[begin_, end_).
  size_t end_ = 0;
  uint64_t produced_ = 0;
  uint64_t reported_ = 0;
  bool ended_ = false;
};

}  // namespace msb::rootfs
