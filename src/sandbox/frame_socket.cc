// SPDX-License-Identifier: Apache-2.0
// Reading into the frame reader, writing from a queue that is empty most of the time.

#include "sandbox/frame_socket.h"

#include <sys/uio.h>

#include <algorithm>
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
// Frames of one write from where they are: what a large reader's buffer holds of the largest.
constexpr size_t kMaxRun = protocol::FrameReader::kLarge / protocol::kMaxFrame;

std::array<std::byte, protocol::kHeaderSize> Encoded(protocol::Header header, size_t body) {
  CHECK(body <= protocol::kMaxBody);
  header.length = static_cast<uint16_t>(body);
  std::array<std::byte, protocol::kHeaderSize> bytes;
  protocol::EncodeHeader(header, bytes);
  return bytes;
}

}  // namespace

Result<std::unique_ptr<FrameSocket>> FrameSocket::Create(event::Loop& loop, UniqueFd socket,
                                                         Handler& handler, size_t buffer) {
  TRY(sys::SetNonBlocking(socket, true));
  std::unique_ptr<FrameSocket> made(new FrameSocket(std::move(socket), handler, buffer));
  FrameSocket* self = made.get();
  self->watch_ = TRY(loop.Watch(self->socket_, event::Interest::kRead,
                                [self](event::Ready ready) { self->OnReady(ready); }));
  return made;
}

FrameSocket::~FrameSocket() { *alive_ = false; }

void FrameSocket::Send(const protocol::Header& header, std::span<const std::byte> body) {
  if (ended_) return;
  if (body.size() > kSmallBody && !blocked_) {
    SendInPlace(header, body);
    SendRun();
    return;
  }
  SendRun();
  auto encoded = Encoded(header, body.size());
  queue_.insert(queue_.end(), encoded.begin(), encoded.end());
  queue_.insert(queue_.end(), body.begin(), body.end());
}

void FrameSocket::SendInPlace(const protocol::Header& header, std::span<const std::byte> body) {
  if (run_.size() == kMaxRun) SendRun();
  if (ended_ || blocked_ || body.size() <= kSmallBody) {
    Send(header, body);
    return;
  }
  run_.push_back({Encoded(header, body.size()), body});
}

void FrameSocket::SendRun() {
  if (run_.empty()) return;
  std::array<iovec, 1 + 2 * kMaxRun> parts;
  size_t count = 0;
  auto add = [&](std::span<const std::byte> part) {
    // The kernel only reads it; iovec says otherwise.
    parts[count++] = {const_cast<std::byte*>(part.data()), part.size()};
  };
  auto waiting = std::span<const std::byte>(queue_).subspan(sent_);
  add(waiting);
  for (const InPlace& one : run_) {
    add(one.header);
    add(one.body);
  }
  auto sent = sys::SendParts(socket_, std::span(parts).first(count));
  // An error of the socket shows again at the next read, outside of our caller's work.
  size_t left = sent ? sent->value_or(0) : 0;
  size_t from_queue = std::min(left, waiting.size());
  sent_ += from_queue;
  left -= from_queue;
  if (sent_ == queue_.size()) {
    queue_.clear();
    sent_ = 0;
  }
  for (const InPlace& one : run_) {
    for (std::span<const std::byte> part : {std::span<const std::byte>(one.header), one.body}) {
      size_t cut = std::min(left, part.size());
      left -= cut;
      if (cut == part.size()) continue;
      queue_.insert(queue_.end(), part.begin() + static_cast<ptrdiff_t>(cut), part.end());
      blocked_ = true;
    }
  }
  run_.clear();
  if (blocked_) UpdateInterest();
}

void FrameSocket::Flush() {
  if (ended_) return;
  SendRun();
  if (blocked_ || queued() == 0) return;
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
