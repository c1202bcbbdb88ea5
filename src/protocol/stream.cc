// SPDX-License-Identifier: Apache-2.0
// The state of one direction of a stream. See the header for the invariants.

#include "protocol/stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace msb::protocol {
namespace {

constexpr size_t kSmallestRing = 4096;

Error Fault(std::string what) { return Error(Code::kInvalidArgument, std::move(what)); }

}  // namespace

size_t SendStream::Room() const {
  if (reset_ || closed_) return 0;
  return static_cast<size_t>(std::min(limit_ - std::min(limit_, appended_), kMaxHeld - held()));
}

void SendStream::Grow(size_t needed) {
  size_t size = std::max(ring_size_, kSmallestRing);
  while (size < needed) size *= 2;
  if (size == ring_size_) return;
  auto larger = std::make_unique_for_overwrite<std::byte[]>(kHeaderSize + size);
  for (uint64_t at = acked_; at < appended_;) {
    size_t from = at & (ring_size_ - 1), to = at & (size - 1);
    size_t count =
        static_cast<size_t>(std::min<uint64_t>({appended_ - at, ring_size_ - from, size - to}));
    std::memcpy(larger.get() + kHeaderSize + to, ring() + from, count);
    at += count;
  }
  memory_ = std::move(larger);
  ring_size_ = size;
}

void SendStream::Free() {
  memory_.reset();
  ring_size_ = 0;
}

std::span<std::byte> SendStream::Space(size_t max) {
  size_t count = std::min(max, Room());
  if (count == 0) return {};
  Grow(static_cast<size_t>(held()) + count);
  size_t at = appended_ & (ring_size_ - 1);
  return {ring() + at, std::min(count, ring_size_ - at)};
}

void SendStream::Filled(size_t count) {
  CHECK(count <= Room() && held() + count <= ring_size_);
  appended_ += count;
}

void SendStream::Append(std::span<const std::byte> bytes) {
  CHECK(bytes.size() <= Room());
  while (!bytes.empty()) {
    auto space = Space(bytes.size());
    std::memcpy(space.data(), bytes.data(), space.size());
    Filled(space.size());
    bytes = bytes.subspan(space.size());
  }
}

void SendStream::Close() { closed_ = true; }

void SendStream::Reset() {
  reset_ = true;
  acked_ = sent_ = furthest_ = appended_;
  Free();
}

std::optional<SendStream::Chunk> SendStream::Next(size_t max) const {
  if (reset_) return std::nullopt;
  uint64_t end = std::min(appended_, limit_);
  if (sent_ >= end || max == 0) return std::nullopt;
  size_t at = sent_ & (ring_size_ - 1);
  size_t count = static_cast<size_t>(std::min<uint64_t>({end - sent_, max, ring_size_ - at}));
  return Chunk{sent_, {ring() + at, count}};
}

std::span<std::byte> SendStream::Framed(const Chunk& chunk) {
  size_t at = chunk.offset & (ring_size_ - 1);
  CHECK(chunk.bytes.data() == ring() + at && chunk.bytes.size() <= ring_size_ - at);
  return {memory_.get() + at, kHeaderSize + chunk.bytes.size()};
}

void SendStream::Sent(size_t count) {
  CHECK(!reset_ && count <= appended_ - sent_);
  sent_ += count;
  furthest_ = std::max(furthest_, sent_);
}

std::optional<uint64_t> SendStream::EofDue() const {
  if (reset_ || !closed_ || eof_sent_ || sent_ != appended_) return std::nullopt;
  return appended_;
}

void SendStream::EofSent() { eof_sent_ = true; }

Result<void> SendStream::OnCredit(uint64_t acked, uint64_t limit) {
  if (reset_) return {};
  if (acked < acked_ || limit < limit_)
    return Fault(Cat("credit goes back: ", acked, " of ", acked_, ", limit ", limit));
  if (acked > furthest_) return Fault(Cat("credit for ", acked, " of ", furthest_, " bytes sent"));
  if (limit < acked) return Fault(Cat("credit limit ", limit, " below ", acked));
  acked_ = acked;
  limit_ = limit;
  // After a Rewind the receiver may have more than we have sent again.
  sent_ = std::max(sent_, acked);
  if (closed_ && acked_ == appended_) Free();
  return {};
}

void SendStream::Rewind() {
  if (reset_) return;
  sent_ = acked_;
  eof_sent_ = false;
}

Result<std::span<const std::byte>> ReceiveStream::OnData(uint64_t offset,
                                                         std::span<const std::byte> bytes) {
  uint64_t end;
  if (__builtin_add_overflow(offset, bytes.size(), &end))
    return Fault(Cat("data at ", offset, " overflows"));
  if (offset > received_) return Fault(Cat("data at ", offset, " after ", received_, " bytes"));
  if (end > granted_) return Fault(Cat("data up to ", end, " beyond the credit of ", granted_));
  if (end_ && end > *end_) return Fault(Cat("data up to ", end, " after the end at ", *end_));
  if (end <= received_) return std::span<const std::byte>();
  auto fresh = bytes.subspan(static_cast<size_t>(received_ - offset));
  received_ = end;
  return fresh;
}

Result<void> ReceiveStream::OnEof(uint64_t offset) {
  if (end_ && *end_ != offset) return Fault(Cat("a second end at ", offset, ", not ", *end_));
  if (!end_ && offset != received_)
    return Fault(Cat("end at ", offset, " after ", received_, " bytes"));
  end_ = offset;
  return {};
}

void ReceiveStream::Consumed(uint64_t count) {
  CHECK(count <= received_ - consumed_);
  consumed_ += count;
}

std::optional<ReceiveStream::Credit> ReceiveStream::CreditDue() const {
  uint64_t limit = consumed_ + window_;
  bool due = !credit_sent_ || (!end_ && limit - granted_ >= (window_ + 1) / 2);
  if (!due) return std::nullopt;
  return Credit{consumed_, limit};
}

void ReceiveStream::CreditSent() {
  granted_ = consumed_ + window_;
  credit_sent_ = true;
}

}  // namespace msb::protocol
