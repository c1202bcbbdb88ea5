// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/image_file.h"

#include "base/check.h"
#include "base/checked.h"
#include "base/text.h"
#include "image/rootfs/erofs_format.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

constexpr size_t kBufferSize = size_t{1} << 20;
// From here on a span goes to the kernel from where it lies instead of through the buffer.
constexpr size_t kDirectSize = size_t{32} << 10;
constexpr uint64_t kHoleSize = uint64_t{64} << 10;

}  // namespace

ImageFile::ImageFile(BorrowedFd out, uint64_t start, uint64_t max_bytes)
    : out_(out), max_bytes_(max_bytes), position_(start), flushed_(start) {
  buffer_.reserve(kBufferSize);
}

uint32_t ImageFile::block() const {
  CHECK(position_ % erofs::kBlockSize == 0);
  return static_cast<uint32_t>(position_ >> erofs::kBlockBits);
}

Result<void> ImageFile::Grow(uint64_t count) {
  if (count > max_bytes_ || position_ > max_bytes_ - count)
    return Error(Code::kResourceExhausted, Cat("image larger than ", max_bytes_, " bytes"));
  position_ += count;
  return {};
}

Result<void> ImageFile::Flush(std::span<const std::byte> then) {
  if (!buffer_.empty()) TRY(WriteAt(flushed_, buffer_));
  if (!then.empty()) TRY(WriteAt(flushed_ + buffer_.size(), then));
  flushed_ += buffer_.size() + then.size();
  buffer_.clear();
  return {};
}

Result<void> ImageFile::Append(std::span<const std::byte> bytes) {
  TRY(Grow(bytes.size()));
  if (bytes.size() >= kDirectSize) return Flush(bytes);
  if (buffer_.size() + bytes.size() > kBufferSize) TRY(Flush());
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> ImageFile::AppendZeros(uint64_t count) {
  TRY(Grow(count));
  if (count < kHoleSize) {
    if (buffer_.size() + count > kBufferSize) TRY(Flush());
    buffer_.resize(buffer_.size() + count);
    return {};
  }
  TRY(Flush());
  flushed_ = position_;
  return {};
}

Result<void> ImageFile::AlignToBlock() {
  return AppendZeros(AlignUp(position_, erofs::kBlockSize) - position_);
}

Result<void> ImageFile::Finish() {
  TRY(Flush());
  return sys::Truncate(out_, static_cast<off_t>(position_)).Context("image");
}

Result<void> ImageFile::WriteAt(uint64_t offset, std::span<const std::byte> bytes) {
  return sys::WriteAllAt(out_, bytes, static_cast<off_t>(offset)).Context("image");
}

}  // namespace msb::rootfs
