// SPDX-License-Identifier: Apache-2.0
// Port: one port of the console device, between two queues and a socket.
//
// That buffers are through is in the used ring at once, but the agent port's interrupt for it comes
// late: after a quarter of the queue's descriptors or kTellAfter. An interrupt costs a guest three
// exits, two of them to us, and Linux wants this one only when a writer waits because the whole
// queue is full; it frees what has come back at each write. A full queue holds four quarters that
// have not come back since the driver last looked, so a writer who waits is told in time.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/queue.h"

namespace msb::vmm {

struct PortMetrics {
  std::atomic<uint64_t> to_guest_bytes = 0;
  std::atomic<uint64_t> from_guest_bytes = 0;
  std::atomic<uint64_t> dropped_bytes = 0;  // Of the console: its socket was full.
};

enum class PortKind : uint8_t {
  kConsole,  // Gives buffers back at once, drops what the socket does not take.
  kChannel,  // Loses nothing, waits for the socket; takes bytes in only while the guest has it
             // open.
};

// Device thread.
class Port {
 public:
  // `hung_up`: the host's end is gone; called from the loop.
  Port(event::Loop& loop, PortKind kind, std::function<void()> hung_up)
      : loop_(loop), kind_(kind), hung_up_(std::move(hung_up)) {}

  Result<void> Attach(UniqueFd socket);
  // As if the host's end had hung up.
  void HangUp();
  bool host_open() const { return host_open_; }
  bool guest_open() const { return guest_open_; }
  // The guest opened or closed its end. True when that is news.
  bool SetGuestOpen(bool open);
  // The guest's end as it was with another host's.
  void RestoreGuestOpen(bool open) { guest_open_ = reopen_needed_ = open; }

  // The queues live until Stop(). None where the driver made no such queue.
  void Start(std::optional<Queue>* receive, std::optional<Queue>* transmit, DeviceSignal* signal);
  void Stop();
  // The guest has put buffers into the queue.
  void ReceiveReady();
  void TransmitReady();

  const PortMetrics& metrics() const { return metrics_; }

 private:
  enum class Round : uint8_t { kDone, kMore, kBlocked };

  void OnSocket(event::Ready ready);
  bool MayReceive() const;
  void Receive();
  Round ReceiveRound(Queue& queue);
  Round TransmitRound(Queue& queue);
  void Settle();
  void Signal(Queue& queue);
  void SignalTransmit(Queue& queue);

  event::Loop& loop_;
  const PortKind kind_;
  std::function<void()> hung_up_;
  UniqueFd socket_;  // Closed with this or by the next: a confined thread need not close().
  bool host_open_ = false;
  event::Loop::Registration watch_;

  std::optional<Queue>* receive_ = nullptr;
  std::optional<Queue>* transmit_ = nullptr;
  DeviceSignal* signal_ = nullptr;
  bool guest_open_ = false;
  // The host's end changed while the guest had its own open, which it must close and open again.
  bool reopen_needed_ = false;
  bool receive_starved_ = false;      // The guest has no buffers: do not ask the socket.
  bool transmit_blocked_ = false;     // The socket is full.
  event::Loop::Timer transmit_more_;  // Pending when others are due before the rest of the queue.
  size_t sent_of_first_ = 0;          // Bytes of the next transmit buffer that are through.
  size_t untold_pieces_ = 0;          // Descriptors given back without asking for an interrupt.
  event::Loop::Timer tell_;           // When the guest hears of them at the latest.
  PortMetrics metrics_;
};

}  // namespace msb::vmm
