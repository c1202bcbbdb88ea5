// SPDX-License-Identifier: Apache-2.0
// FrameSocket: frames in both directions over one non-blocking stream socket on an event loop. Both
// ends of a control socket and the supervisor's end of the agent channel are one.

#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "protocol/frame.h"

namespace msb::sandbox {

class FrameSocket {
 public:
  // A handler may destroy the FrameSocket from any of these.
  class Handler {
   public:
    virtual ~Handler() = default;
    // An error is a fault of the peer: the connection ends with it.
    virtual Result<void> OnFrame(const protocol::Frame& frame) = 0;
    // All whole frames of one read have been handled.
    virtual void OnBatchEnd() {}
    // The queue has become empty after a time in which it was not.
    virtual void OnDrained() {}
    // Nothing follows. kUnavailable: the peer has closed.
    virtual void OnEnded(Error reason) = 0;
  };

  // `buffer`: bytes that one read can bring.
  static Result<std::unique_ptr<FrameSocket>> Create(
      event::Loop& loop, UniqueFd socket, Handler& handler,
      size_t buffer = protocol::FrameReader::kSmallest);
  ~FrameSocket();
  FrameSocket(const FrameSocket&) = delete;
  FrameSocket& operator=(const FrameSocket&) = delete;

  // Small frames wait for Flush(), so that what belongs together leaves in one write; large ones go
  // at once, without a copy while the socket takes them.
  void Send(const protocol::Header& header, std::span<const std::byte> body = {});
  // A large body is not even looked at before the next Flush() or Send(), one of which must come
  // while it is still there: a run of frames leaves in one write, straight from where they were
  // read.
  void SendInPlace(const protocol::Header& header, std::span<const std::byte> body);
  void Flush();
  size_t queued() const { return queue_.size() - sent_; }

  void PauseReading(bool paused);
  bool ended() const { return ended_; }

 private:
  struct InPlace {
    std::array<std::byte, protocol::kHeaderSize> header;
    std::span<const std::byte> body;
  };

  FrameSocket(UniqueFd socket, Handler& handler, size_t buffer)
      : socket_(std::move(socket)), handler_(handler), reader_(buffer) {}
  void OnReady(event::Ready ready);
  void ReadBatch();
  void SendRun();
  void UpdateInterest();
  void End(Error reason);

  UniqueFd socket_;
  Handler& handler_;
  event::Loop::Registration watch_;
  protocol::FrameReader reader_;
  std::vector<std::byte> queue_;  // [sent_, end) is still to be sent.
  size_t sent_ = 0;
  std::vector<InPlace> run_;  // Follows queue_; empty while blocked_.
  bool blocked_ = false;      // The socket was full: wait for it to be writable.
  bool paused_ = false;
  bool ended_ = false;
  // Tells a callback's caller that the handler destroyed us meanwhile.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // Shared with frames of our own.
};

}  // namespace msb::sandbox
