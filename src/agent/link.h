// SPDX-License-Identifier: Apache-2.0
// One connection of the agent channel: cuts what comes into frames, packs what goes into writes of
// whole frames of at most 32 KiB, and never waits. The descriptor is a virtio port or a socket,
// both non-blocking.

#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace msb::agent {

class Link {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // An error is a fault of the peer and ends the connection.
    virtual Result<void> OnFrame(const protocol::Frame& frame) = 0;
    // The frames that came together have been handed over.
    virtual void OnBatch() = 0;
    // What was blocked is written: more may be sent.
    virtual void OnWritable() = 0;
    // Called once a connection, never from within a call of ours to Send or Flush.
    virtual void OnEnded(const std::string& why) = 0;
  };

  Link(event::Loop& loop, Handler& handler) : loop_(loop), handler_(handler) {}

  // A new connection: half a frame and everything queued are dropped.
  Result<void> Attach(UniqueFd fd);
  // Ends it without a word to the handler.
  void Detach();
  bool attached() const { return static_cast<bool>(fd_); }

  // Queues a frame. Ignored without a connection.
  void Send(const protocol::Header& header, protocol::ByteSpan body = {});
  // The same for a large body that has room for a header before it (SendStream::Framed): written at
  // once and without a copy where nothing is queued. `framed` is left as it was.
  void SendFramed(const protocol::Header& header, std::span<std::byte> framed);
  // Writes what is queued, as far as the peer takes it now.
  void Flush();
  // The peer does not take more at the moment: producing is a waste.
  bool blocked() const { return blocked_ || chunks_.size() > 1; }
  // Bytes until the write being packed is full.
  size_t RoomInWrite() const;
  // Everything queued has been written.
  bool idle() const { return chunks_.empty(); }

 private:
  // Bytes of one write that were taken; 0: blocked, or broken.
  size_t WriteSome(protocol::ByteSpan bytes);
  void OnReady(event::Ready ready);
  void ReadSome();
  // Calls the handler with the whole frames in hand; false when the connection ended on the way.
  bool Dispatch();
  void UpdateInterest();
  void End(const std::string& why);

  event::Loop& loop_;
  Handler& handler_;
  UniqueFd fd_;
  event::Loop::Registration watch_;
  protocol::FrameReader reader_;
  std::deque<std::vector<std::byte>> chunks_;  // Each is whole frames, one write.
  size_t written_ = 0;                         // Of the first chunk (sockets write in part).
  std::vector<std::byte> spare_;               // A chunk's memory, kept for the next.
  bool blocked_ = false;
  std::string broken_;  // A write failed: ended from the loop.
  uint64_t connection_ = 0;
};

}  // namespace msb::agent
