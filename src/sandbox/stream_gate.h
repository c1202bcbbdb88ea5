// SPDX-License-Identifier: Apache-2.0
// What the relay remembers of a stream that passes through it: enough to hold both ends to the
// rules of src/protocol/stream.h, and no bytes. Credit goes from end to end, so what the relay ever
// queues for a stream is bounded by what its reader has granted.

#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "protocol/messages.h"

namespace msb::sandbox {

// Output of an exec: the guest sends, the client grants.
class OutputGate {
 public:
  // From the client. Bounded, so that a client cannot make the relay hold more.
  Result<void> OnCredit(uint64_t consumed, uint64_t limit);
  // From the guest: the part that is new (after a reconnect it sends again what was not
  // acknowledged); a gap, or more than was granted, is its fault.
  Result<protocol::ByteSpan> OnData(uint64_t offset, protocol::ByteSpan bytes);
  // True: new; false: repeated.
  Result<bool> OnEof(uint64_t offset);

  uint64_t received() const { return received_; }
  uint64_t consumed() const { return consumed_; }
  uint64_t limit() const { return limit_; }
  bool granted() const { return granted_; }

 private:
  uint64_t received_ = 0, consumed_ = 0, limit_ = 0;
  bool granted_ = false;
  std::optional<uint64_t> end_;
};

// Input of an exec: the client sends, the guest grants.
class InputGate {
 public:
  // From the guest. True: it says something new.
  Result<bool> OnCredit(uint64_t consumed, uint64_t limit);
  // From the client.
  Result<void> OnData(uint64_t offset, protocol::ByteSpan bytes);
  Result<void> OnEof(uint64_t offset);
  // The guest's side was connected anew: the client will send again from what is acknowledged.
  void Rewind() { sent_ = acked_; }

 private:
  // sent_ goes back on Rewind; furthest_ is the highest it has been: what may be acknowledged.
  uint64_t acked_ = 0, sent_ = 0, furthest_ = 0, limit_ = 0;
  std::optional<uint64_t> end_;
};

}  // namespace msb::sandbox
