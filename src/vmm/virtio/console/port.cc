// SPDX-License-Identifier: Apache-2.0
// Many buffers of a queue to one system call, and the accounts afterwards.

#include "vmm/virtio/console/port.h"

#include <sys/uio.h>

#include <array>

#include "sys/socket.h"

namespace msb::vmm {
namespace {

constexpr size_t kMaxChains = 16;
constexpr size_t kMaxParts = 64;
// Of one call. A socket whose other end is quick enough takes all that it is given, and the whole
// device thread waits for that call.
constexpr size_t kMaxBytes = 256 << 10;
// System calls for one queue before the loop turns to others.
constexpr int kRounds = 16;
// For drivers that wait for less than a full queue.
constexpr auto kTellAfter = std::chrono::milliseconds(20);

// Buffers taken together, and what of them goes into one call.
class Batch {
 public:
  // Takes chains until one of the arrays or the call is full or the queue is empty. `skip`: bytes
  // of the first that were dealt with before.
  void Fill(Queue& queue, std::span<const Segment> Chain::*side, size_t skip) {
    for (auto chain = queue.Pop(); chain; chain = queue.PopMore()) {
      size_t bytes = 0;
      for (Segment segment : (*chain).*side) {
        size_t cut = std::min(skip, segment.size());
        skip -= cut;
        bytes += segment.size() - cut;
        size_t part = std::min(segment.size() - cut, kMaxBytes - offered_);
        if (part == 0 || part_count_ == kMaxParts) continue;
        parts_[part_count_++] = {segment.data() + cut, part};
        offered_ += part;
      }
      skip = 0;
      size_t pieces = chain->readable.size() + chain->writable.size();
      chains_[chain_count_++] = {chain->head, pieces, bytes};
      if (chain_count_ == kMaxChains || part_count_ == kMaxParts || offered_ == kMaxBytes) break;
    }
  }

  struct Taken {
    uint16_t head;
    size_t pieces;
    size_t bytes;  // All that is left of it, even if it did not fit the parts.
  };
  std::span<const Taken> chains() const { return std::span(chains_).first(chain_count_); }
  std::span<const iovec> parts() const { return std::span(parts_).first(part_count_); }
  size_t offered() const { return offered_; }

 private:
  std::array<Taken, kMaxChains> chains_;
  std::array<iovec, kMaxParts> parts_;
  size_t chain_count_ = 0;
  size_t part_count_ = 0;
  size_t offered_ = 0;
};

void Count(std::atomic<uint64_t>& counter, size_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

uint16_t Small(size_t count) { return static_cast<uint16_t>(count); }

}  // namespace

Result<void> Port::Attach(UniqueFd socket) {
  watch_.Cancel();
  socket_ = std::move(socket);
  watch_ = TRY(loop_.Watch(socket_, event::Interest::kNone,
                           [this](event::Ready ready) { OnSocket(ready); }));
  host_open_ = true;
  Settle();
  return {};
}

bool Port::SetGuestOpen(bool open) {
  if (!open && reopen_needed_) {
    // What it has put into the ring until now is the old connection's.
    TransmitReady();
    reopen_needed_ = false;
  }
  if (std::exchange(guest_open_, open) == open) return false;
  Settle();
  return true;
}

void Port::Start(std::optional<Queue>* receive, std::optional<Queue>* transmit,
                 DeviceSignal* signal) {
  receive_ = receive;
  transmit_ = transmit;
  signal_ = signal;
  Settle();
}

void Port::Stop() {
  receive_ = nullptr;
  transmit_ = nullptr;
  guest_open_ = false;
  reopen_needed_ = false;
  receive_starved_ = false;
  transmit_blocked_ = false;
  transmit_more_.Cancel();
  tell_.Cancel();
  sent_of_first_ = 0;
  untold_pieces_ = 0;
  Settle();
}

bool Port::MayReceive() const {
  if (receive_ == nullptr || !*receive_ || !host_open_ || signal_->needs_reset()) return false;
  return kind_ == PortKind::kConsole || (guest_open_ && !reopen_needed_);
}

// What to wait for at the socket. Level-triggered, so nothing that cannot be dealt with.
void Port::Settle() {
  unsigned interest = 0;
  if (MayReceive() && !receive_starved_) interest |= static_cast<unsigned>(event::Interest::kRead);
  if (transmit_blocked_) interest |= static_cast<unsigned>(event::Interest::kWrite);
  // It fails for want of memory only: then as if the host had hung up.
  if (!watch_.SetInterest(static_cast<event::Interest>(interest)).ok()) HangUp();
}

void Port::HangUp() {
  if (!host_open_) return;
  watch_.Cancel();
  host_open_ = false;
  reopen_needed_ = guest_open_;
  transmit_blocked_ = false;
  hung_up_();
  // Nobody will read what waits in the ring.
  TransmitReady();
}

void Port::OnSocket(event::Ready ready) {
  if (ready.writable && transmit_blocked_) {
    transmit_blocked_ = false;
    TransmitReady();
  }
  if (ready.readable && MayReceive() && !receive_starved_) Receive();
  // What the guest cannot take is lost with the connection; waiting for it would be told of the
  // hang-up again and again.
  if (ready.hangup && (!MayReceive() || receive_starved_)) HangUp();
  Settle();
}

void Port::ReceiveReady() {
  if (!receive_starved_) return;
  receive_starved_ = false;
  if (MayReceive()) Receive();
  Settle();
}

void Port::Receive() {
  Queue& queue = **receive_;
  Round round = Round::kMore;
  for (int i = 0; i < kRounds && round == Round::kMore; i++) round = ReceiveRound(queue);
  Signal(queue);
}

Port::Round Port::ReceiveRound(Queue& queue) {
  Batch batch;
  batch.Fill(queue, &Chain::writable, 0);
  if (batch.chains().empty()) {
    receive_starved_ = true;
    return Round::kDone;
  }
  auto received = sys::ReceiveParts(socket_, batch.parts());
  bool ended = !received.ok() || (received->has_value() && **received == 0 && batch.offered() > 0);
  size_t left = received.ok() ? received->value_or(0) : 0;
  Count(metrics_.to_guest_bytes, left);
  size_t filled = 0;
  for (const Batch::Taken& chain : batch.chains()) {
    // A buffer without room goes back as it is.
    if (left == 0 && chain.bytes != 0) break;
    size_t written = std::min(left, chain.bytes);
    queue.Push(chain.head, static_cast<uint32_t>(written));
    left -= written;
    filled++;
  }
  queue.Undo(Small(batch.chains().size() - filled));
  if (ended) {
    HangUp();
    return Round::kDone;
  }
  bool full = received->has_value() && **received == batch.offered();
  return full ? Round::kMore : Round::kDone;
}

void Port::TransmitReady() {
  if (transmit_blocked_ || transmit_ == nullptr || !*transmit_ || signal_->needs_reset()) return;
  Queue& queue = **transmit_;
  Round round = Round::kMore;
  for (int i = 0; i < kRounds && round == Round::kMore; i++) round = TransmitRound(queue);
  transmit_blocked_ = round == Round::kBlocked;
  if (round == Round::kMore)
    transmit_more_ = loop_.After(Clock::duration::zero(), [this] { TransmitReady(); });
  SignalTransmit(queue);
  Settle();
}

Port::Round Port::TransmitRound(Queue& queue) {
  Batch batch;
  size_t skip = sent_of_first_;
  batch.Fill(queue, &Chain::readable, skip);
  if (batch.chains().empty()) return Round::kDone;
  size_t sent = 0;
  bool ended = false;
  if (host_open_ && !reopen_needed_ && batch.offered() > 0) {
    auto result = sys::SendParts(socket_, batch.parts());
    ended = !result.ok();
    if (result.ok()) sent = result->value_or(0);
  }
  Count(metrics_.from_guest_bytes, sent);
  bool drop = kind_ == PortKind::kConsole || !host_open_ || reopen_needed_ || ended;
  size_t left = sent;
  size_t done = 0;
  for (const Batch::Taken& chain : batch.chains()) {
    size_t of_this = std::min(left, chain.bytes);
    if (of_this < chain.bytes && !drop) {
      sent_of_first_ = skip + of_this;
      break;
    }
    Count(metrics_.dropped_bytes, chain.bytes - of_this);
    queue.Push(chain.head, 0);
    untold_pieces_ += chain.pieces;
    left -= of_this;
    done++;
    skip = 0;
    sent_of_first_ = 0;
  }
  queue.Undo(Small(batch.chains().size() - done));
  if (ended) HangUp();
  return drop || sent == batch.offered() ? Round::kMore : Round::kBlocked;
}

void Port::SignalTransmit(Queue& queue) {
  bool late = kind_ == PortKind::kChannel && untold_pieces_ < queue.size() / 4u;
  if (!late || queue.broken()) {
    // The timer stays and finds nothing to tell: setting one for each batch costs more.
    untold_pieces_ = 0;
    Signal(queue);
  } else if (untold_pieces_ > 0 && !tell_.pending() && !tell_.Again(kTellAfter)) {
    tell_ = loop_.After(kTellAfter, [this] {
      untold_pieces_ = 0;
      if (!signal_->needs_reset()) Signal(**transmit_);
    });
  }
}

void Port::Signal(Queue& queue) {
  if (queue.InterruptDue()) signal_->UsedBuffers();
  if (queue.broken()) signal_->NeedsReset();
}

}  // namespace msb::vmm
