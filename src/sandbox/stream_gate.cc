// SPDX-License-Identifier: Apache-2.0
// The rules of credit and offsets, checked in passing.

#include "sandbox/stream_gate.h"

#include <algorithm>

#include "base/text.h"
#include "protocol/stream.h"

namespace msb::sandbox {
namespace {

Error Fault(std::string what) { return Error(Code::kInvalidArgument, std::move(what)); }

Result<uint64_t> End(uint64_t offset, protocol::ByteSpan bytes) {
  uint64_t end;
  if (__builtin_add_overflow(offset, bytes.size(), &end))
    return Fault(Cat("data at ", offset, " overflows"));
  return end;
}

}  // namespace

Result<void> OutputGate::OnCredit(uint64_t consumed, uint64_t limit) {
  if (consumed > received_) return Fault(Cat("credit for ", consumed, " of ", received_, " bytes"));
  if (consumed < consumed_ || limit < limit_ || limit < consumed)
    return Fault(Cat("credit goes back: ", consumed, " of ", consumed_, ", limit ", limit));
  if (limit - consumed > protocol::kOutputWindow)
    return Fault(Cat("credit of ", limit - consumed, " bytes, at most ", protocol::kOutputWindow));
  consumed_ = consumed;
  limit_ = limit;
  granted_ = true;
  return {};
}

Result<protocol::ByteSpan> OutputGate::OnData(uint64_t offset, protocol::ByteSpan bytes) {
  uint64_t end = TRY(End(offset, bytes));
  // Costs no credit, so nothing would bound how many are queued.
  if (bytes.empty()) return Fault("data without bytes");
  if (offset > received_) return Fault(Cat("data at ", offset, " after ", received_, " bytes"));
  if (end > limit_) return Fault(Cat("data up to ", end, " beyond the credit of ", limit_));
  if (end_ && end > *end_) return Fault(Cat("data up to ", end, " after the end at ", *end_));
  if (end <= received_) return protocol::ByteSpan();
  auto fresh = bytes.subspan(static_cast<size_t>(received_ - offset));
  received_ = end;
  return fresh;
}

Result<bool> OutputGate::OnEof(uint64_t offset) {
  if (end_ && *end_ != offset) return Fault(Cat("a second end at ", offset, ", not ", *end_));
  if (end_) return false;
  if (offset != received_) return Fault(Cat("end at ", offset, " after ", received_, " bytes"));
  end_ = offset;
  return true;
}

Result<bool> InputGate::OnCredit(uint64_t consumed, uint64_t limit) {
  if (consumed > furthest_)
    return Fault(Cat("credit for ", consumed, " of ", furthest_, " bytes sent"));
  if (consumed < acked_ || limit < limit_ || limit < consumed)
    return Fault(Cat("credit goes back: ", consumed, " of ", acked_, ", limit ", limit));
  bool news = consumed != acked_ || limit != limit_;
  acked_ = consumed;
  limit_ = limit;
  sent_ = std::max(sent_, acked_);
  return news;
}

Result<void> InputGate::OnData(uint64_t offset, protocol::ByteSpan bytes) {
  uint64_t end = TRY(End(offset, bytes));
  if (bytes.empty()) return Fault("data without bytes");
  // Below sent_ after a reconnect only, and the guest drops what it has already.
  if (offset > sent_) return Fault(Cat("data at ", offset, " after ", sent_, " bytes"));
  if (end > limit_) return Fault(Cat("data up to ", end, " beyond the credit of ", limit_));
  if (end_ && end > *end_) return Fault(Cat("data up to ", end, " after the end at ", *end_));
  sent_ = std::max(sent_, end);
  furthest_ = std::max(furthest_, sent_);
  return {};
}

Result<void> InputGate::OnEof(uint64_t offset) {
  if (end_ && *end_ != offset) return Fault(Cat("a second end at ", offset, ", not ", *end_));
  if (offset != sent_) return Fault(Cat("end at ", offset, " after ", sent_, " bytes"));
  end_ = offset;
  return {};
}

}  // namespace msb::sandbox
