// SPDX-License-Identifier: Apache-2.0
// One direction of one byte stream: absolute offsets, credit, and resending after a reconnect.
// Pure state, no I/O; used by agent, supervisor and client alike.
//
//   sender                                          receiver
//   acked <= sent <= appended                       consumed <= received <= limit
//         sends only below `limit`                        grants `limit` = consumed + window
//
// The sender keeps what is not acknowledged. On a new connection the receiver repeats its CREDIT
// (consumed, limit); the sender goes back to `acked` and sends again; the receiver drops what it
// has already. So no byte is lost or doubled, whatever was in flight.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "protocol/frame.h"

namespace msb::protocol {

inline constexpr uint64_t kDefaultWindow = 256 * 1024;
// What a client grants of an exec's output, and a relay lets it grant. Larger, because output is
// what comes in floods, and each half window that was consumed costs four processes a turn: beyond
// this nothing more is gained.
inline constexpr uint64_t kOutputWindow = 2 * kDefaultWindow;
// What a sender holds at most, however much credit it is given.
inline constexpr uint64_t kMaxHeld = 4 * kDefaultWindow;

class SendStream {
 public:
  // Bytes that may be appended now without holding more than the credit allows.
  size_t Room() const;
  // At most Room() bytes (CHECK).
  void Append(std::span<const std::byte> bytes);
  // The same without a copy: read into Space() (at most `max` and Room() bytes, may be less where
  // the ring wraps; empty when there is no room), then say how much came.
  std::span<std::byte> Space(size_t max);
  void Filled(size_t count);
  // The stream ends after what was appended. Idempotent.
  void Close();
  // The receiver is gone (kReset): drops everything; Room() is 0 for ever, done() is true.
  void Reset();

  struct Chunk {
    uint64_t offset;
    std::span<const std::byte> bytes;  // Valid until the next non-const call.
  };
  // What to send next, at most `max` bytes; nullopt when nothing may be sent now.
  std::optional<Chunk> Next(size_t max) const;
  // The same bytes behind kHeaderSize others: room for a header, so that both leave in one write
  // without a copy. The others may be bytes of the stream: whoever writes a header there puts them
  // back before anything else is asked of the stream.
  std::span<std::byte> Framed(const Chunk& chunk);
  void Sent(size_t count);
  // The EOF frame's offset when everything is sent and EOF is not.
  std::optional<uint64_t> EofDue() const;
  void EofSent();

  // From a CREDIT frame. Acknowledging what was not sent, or going back, is the peer's fault.
  Result<void> OnCredit(uint64_t acked, uint64_t limit);
  // A new connection: everything unacknowledged is to be sent again.
  void Rewind();

  bool closed() const { return closed_; }
  bool was_reset() const { return reset_; }
  // Closed and all of it, with the EOF, handed over (not necessarily acknowledged).
  bool done() const { return reset_ || (closed_ && eof_sent_ && sent_ == appended_); }
  uint64_t appended() const { return appended_; }
  // Bytes held because they are not acknowledged.
  uint64_t held() const { return appended_ - acked_; }

 private:
  void Grow(size_t held);
  std::byte* ring() const { return memory_.get() + kHeaderSize; }
  void Free();

  // A ring whose size is a power of two, behind room for a header: offset o is at o & (size - 1).
  // Holds [acked_, appended_).
  std::unique_ptr<std::byte[]> memory_;
  size_t ring_size_ = 0;
  // sent_ goes back on Rewind; furthest_ is the highest it has been: what may be acknowledged.
  uint64_t acked_ = 0, sent_ = 0, furthest_ = 0, appended_ = 0, limit_ = 0;
  bool closed_ = false, eof_sent_ = false, reset_ = false;
};

class ReceiveStream {
 public:
  explicit ReceiveStream(uint64_t window = kDefaultWindow) : window_(window) {}

  // The bytes of this DATA frame that are new. Beyond the credit, a gap, or after the end: the
  // peer's fault.
  Result<std::span<const std::byte>> OnData(uint64_t offset, std::span<const std::byte> bytes);
  Result<void> OnEof(uint64_t offset);
  // `count` more bytes have gone where they should; they will never be asked for again.
  void Consumed(uint64_t count);

  struct Credit {
    uint64_t consumed;
    uint64_t limit;
  };
  // A credit worth sending: at the start, and whenever half a window was consumed since the last.
  std::optional<Credit> CreditDue() const;
  void CreditSent();
  // A new connection: the present credit is due again.
  void Rewind() { credit_sent_ = false; }

  bool ended() const { return end_.has_value() && consumed_ == *end_; }
  bool eof_received() const { return end_.has_value(); }
  uint64_t received() const { return received_; }
  uint64_t consumed() const { return consumed_; }

 private:
  uint64_t window_;
  uint64_t received_ = 0, consumed_ = 0, granted_ = 0;
  std::optional<uint64_t> end_;
  bool credit_sent_ = false;
};

}  // namespace msb::protocol
