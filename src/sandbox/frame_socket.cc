// SPDX-License-Identifier: Apache-2.0
// Reading into the frame reader, writing from a queue that is empty most of the time.

#include "sandbox/frame_socket.h"

#include <array>
#include <cerrno>

#include "base/check.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

// Below this a copy into the queue costs less than a system call of its own.
constexpr size_t kSmallBody = 2048;
// What a queue keeps allocated when it is empty.
constexpr size_t kKeptCapacity = 64 * 1024;

}  // namespace

Result<std::unique_ptr<FrameSocket>> FrameSocket::Create(event::Loop& loop, UniqueFd socket,
                                                         Handler& handler) {
  TRY(sys::SetNonBlocking(socket, true));
  std::unique_ptr<FrameSocket> made(new FrameSocket(std::move(socket), handler));
  FrameSocket* self = made.get();
  self->watch_ = TRY(loop.Watch(self->socket_, event::Interest::kRead,
                                [self](event::Ready ready) { self->OnReady(ready); }));
  return made;
}

FrameSocket::~FrameSocket() { *alive_ = false; }

void FrameSocket::Send(const protocol::Header& header, std::span<const std::byte> body) {
  if (ended_) return;
  CHECK(body.size() <= protocol::kMaxBody);
  protocol::Header sized = header;
  sized.length = static_cast<uint16_t>(body.size());
  std::array<std::byte, protocol::kHeaderSize> encoded;
  protocol::EncodeHeader(sized, encoded);
  if (body.size() > kSmallBody && !blocked_) {
    SendLarge(encoded, body);
    return;
  }
  queue_.insert(queue_.end(), encoded.begin(), encoded.end());
  queue_.insert(queue_.end(), body.begin(), body.end());
}

void FrameSocket::SendLarge(std::span<const std::byte> header, std::span<const std::byte> body) {
  auto waiting = std::span<const std::byte>(queue_).subspan(sent_);
  std::array<std::span<const std::byte>, 3> parts = {waiting, header, body};
  auto sent = sys::SendGathered(socket_, parts);
  // An error of the socket shows again at the next read, outside of our caller's work.
  size_t count = sent ? *sent : 0;
  size_t from_queue = std::min(count, waiting.size());
  sent_ += from_queue;
  count -= from_queue;
  if (sent_ == queue_.size()) {
    queue_.clear();
    sent_ = 0;
  }
  size_t from_header = std::min(count, header.size());
  count -= from_header;
  if (from_header + count == header.size() + body.size()) return;
  queue_.insert(queue_.end(), header.begin() + static_cast<ptrdiff_t>(from_header), header.end());
  queue_.insert(queue_.end(), body.begin() + static_cast<ptrdiff_t>(count), body.end());
  blocked_ = true;
  UpdateInterest();
}

void FrameSocket::Flush() {
  if (ended_ || blocked_ || queued() == 0) return;
  auto sent = sys::SendSome(socket_, std::span<const std::byte>(queue_).subspan(sent_));
  if (sent) {
    sent_ += *sent;
  } else if (sent.error().sys_errno() != EAGAIN) {
    // The peer has gone; what it wrote before is still to be read, and the read ends us.
    queue_.clear();
    sent_ = 0;
    return;
  }
  if (sent_ == queue_.size()) {
    queue_.clear();
    if (queue_.capacity() > kKeptCapacity) queue_.shrink_to_fit();
    sent_ = 0;
    return;
  }
  // The front is moved away only when it is the larger part, so each byte moves once on average.
  if (sent_ > queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(sent_));
    sent_ = 0;
  }
  blocked_ = true;
  UpdateInterest();
}

void FrameSocket::PauseReading(bool paused) {
  if (paused_ == paused || ended_) return;
  paused_ = paused;
  UpdateInterest();
}

void FrameSocket::UpdateInterest() {
  auto bits = static_cast<uint8_t>((paused_ ? 0 : 1) | (blocked_ ? 2 : 0));
  // Fails only for a descriptor that is not watched: our own bug.
  CHECK(watch_.SetInterest(static_cast<event::Interest>(bits)).ok());
}

void FrameSocket::OnReady(event::Ready ready) {
  auto alive = alive_;
  if (ready.writable && blocked_) {
    blocked_ = false;
    Flush();
    if (!blocked_) {
      UpdateInterest();
      handler_.OnDrained();
      if (!*alive || ended_) return;
    }
  }
  if (ready.readable && !paused_) {
    ReadBatch();
    return;
  }
  // A paused connection's end must still be seen: level-triggered, it would spin otherwise.
  if (ready.hangup) End(Error(Code::kUnavailable, "the peer has closed the connection"));
}

void FrameSocket::ReadBatch() {
  auto alive = alive_;
  auto count = sys::ReadSome(socket_, reader_.Space());
  if (!count) {
    if (count.error().sys_errno() == EAGAIN) return;
    End(std::move(count).error());
    return;
  }
  if (*count == 0) {
    End(Error(Code::kUnavailable, "the peer has closed the connection"));
    return;
  }
  reader_.Filled(*count);
  while (true) {
    auto frame = reader_.Next();
    if (!frame) {
      End(std::move(frame).error());
      return;
    }
    if (!frame->has_value()) break;
    auto handled = handler_.OnFrame(**frame);
    if (!*alive || ended_) return;
    if (!handled) {
      End(std::move(handled).error());
      return;
    }
  }
  handler_.OnBatchEnd();
}

void FrameSocket::End(Error reason) {
  if (ended_) return;
  Flush();
  ended_ = true;
  watch_.Cancel();
  handler_.OnEnded(std::move(reason));
}

}  // namespace msb::sandbox
