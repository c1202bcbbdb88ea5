// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/input_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

// Fits the second-level cache together with what is written from it.
constexpr size_t kBufferSize = size_t{256} << 10;
constexpr uint64_t kProgressStep = uint64_t{1} << 20;

class FileProducer : public ByteProducer {
 public:
  explicit FileProducer(BorrowedFd file) : file_(file) {}
  Result<size_t> Produce(std::span<std::byte> to) override {
    return sys::ReadSome(file_, to).Context("archive");
  }

 private:
  BorrowedFd file_;
};

class MemoryProducer : public ByteProducer {
 public:
  explicit MemoryProducer(std::span<const std::byte> bytes) : rest_(bytes) {}
  Result<size_t> Produce(std::span<std::byte> to) override {
    size_t count = std::min(to.size(), rest_.size());
    std::copy_n(rest_.begin(), count, to.begin());
    rest_ = rest_.subspan(count);
    return count;
  }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace

std::unique_ptr<ByteProducer> ProduceFromFile(BorrowedFd file) {
  return std::make_unique<FileProducer>(file);
}

std::unique_ptr<ByteProducer> ProduceFromMemory(std::span<const std::byte> bytes) {
  return std::make_unique<MemoryProducer>(bytes);
}

InputStream::InputStream(std::unique_ptr<ByteProducer> from, Watchers watchers)
    : from_(std::move(from)), watchers_(std::move(watchers)), buffer_(kBufferSize) {}

// Adds bytes behind what is unread, which it moves to the front.
Result<void> InputStream::Fill() {
  std::copy(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
            buffer_.begin() + static_cast<ptrdiff_t>(end_), buffer_.begin());
  end_ -= begin_;
  begin_ = 0;
  size_t got = TRY(from_->Produce(std::span(buffer_).subspan(end_)));
  if (got == 0) {
    ended_ = true;
    return {};
  }
  produced_ += got;
  if (produced_ > watchers_.max_bytes)
    return Error(Code::kResourceExhausted,
                 Cat("archive larger than ", watchers_.max_bytes, " bytes after decompression"));
  if (watchers_.tap) watchers_.tap(std::span(buffer_).subspan(end_, got));
  end_ += got;
  if (watchers_.progress && produced_ - reported_ >= kProgressStep) {
    reported_ = produced_;
    TRY(watchers_.progress(produced_));
  }
  return {};
}

Result<std::span<const std::byte>> InputStream::Take(size_t count) {
  CHECK(count <= kMaxPiece);
  while (end_ - begin_ < count && !ended_) TRY(Fill());
  count = std::min(count, end_ - begin_);
  auto piece = std::span<const std::byte>(buffer_).subspan(begin_, count);
  begin_ += count;
  return piece;
}

Result<std::span<const std::byte>> InputStream::TakeSome(uint64_t most) {
  if (begin_ == end_ && !ended_) TRY(Fill());
  size_t count = static_cast<size_t>(std::min<uint64_t>(most, end_ - begin_));
  auto piece = std::span<const std::byte>(buffer_).subspan(begin_, count);
  begin_ += count;
  return piece;
}

}  // namespace msb::rootfs
