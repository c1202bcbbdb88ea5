// SPDX-License-Identifier: Apache-2.0
// Queue: the device's side of a split virtqueue (virtio 1.2, section 2.7).
//
// Three areas in guest memory, set up by the driver, for a queue of N (a power of two):
//
//   descriptor table   16 N        {address, length, flags, next}: pieces of memory, in chains
//   available ring      6 + 2 N    driver writes: heads of chains for the device to use
//   used ring           6 + 8 N    device writes: {head, bytes written} of chains it is done with
//
// The guest may write all three at any moment, also while we read. So each index and descriptor is
// copied once and the copy is checked: a head and a next below N, a chain of at most N descriptors
// (a loop is longer), every piece wholly inside memory and not empty, 4 GiB in sum at most, what
// the device reads before what it writes (2.7.4.2), and never more heads announced than N. Whoever
// breaks a rule has a broken() queue: nothing is taken from it any more.
//
// Indirect descriptors (2.7.5.3) are not offered: a chain then lies wholly in the table, so the
// pieces of all chains in flight fit an array of N, made once; the hot paths allocate nothing.
//
// VIRTIO_F_EVENT_IDX (2.7.7, 2.7.10): each side says at which index it wants to hear of the next
// buffer, instead of on or off. Fewer exits and fewer interrupts.

#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

inline constexpr uint16_t kMaxQueueSize = 32768;

// What the driver told the transport.
struct QueueConfig {
  uint16_t size = 0;  // A power of two.
  GuestAddress descriptors;
  GuestAddress available;
  GuestAddress used;
  friend bool operator==(const QueueConfig&, const QueueConfig&) = default;
};

enum class EventIndex : uint8_t { kOff, kOn };

// Where the device stands: all that a queue knows beside its configuration.
struct QueueState {
  uint16_t next_available = 0;  // The next entry to take, modulo 2^16 as in the ring.
  uint16_t next_used = 0;       // The next entry to fill.
  uint16_t signalled_used = 0;  // next_used when InterruptDue() was last asked.
  bool broken = false;
  friend bool operator==(const QueueState&, const QueueState&) = default;
};

// Piece of guest memory.
using Segment = std::span<std::byte>;

// A buffer of the driver's: pieces to read, then pieces to write. The pieces lie in the queue's
// array and are good until the next Pop().
struct Chain {
  uint16_t head = 0;
  std::span<const Segment> readable;
  std::span<const Segment> writable;
  uint32_t readable_bytes = 0;
  uint32_t writable_bytes = 0;
};

// Copies from the pieces, `skip` bytes in; how many there were.
size_t CopyFrom(std::span<const Segment> segments, size_t skip, std::span<std::byte> out);
// Copies to the pieces, `skip` bytes in; how many fitted.
size_t CopyTo(std::span<const Segment> segments, size_t skip, std::span<const std::byte> in);

// The pieces as a system call takes them: `limit` bytes from `skip` on, or as many as fit `parts`.
// How many parts there are.
size_t ToParts(std::span<const Segment> segments, size_t skip, size_t limit,
               std::span<iovec> parts);

// One thread at a time.
class Queue {
 public:
  // Fails when an area is not inside memory or not aligned (2.7: 16, 2, 4), or the size is none.
  static Result<Queue> Create(const GuestMemory& memory, const QueueConfig& config,
                              EventIndex event_index, const QueueState& state = {});

  // The next chain. None: there is nothing (the driver will notify when there is), or the queue is
  // broken().
  std::optional<Chain> Pop();
  // The same, while the chains popped since the last Pop() stay good. None also when the array is
  // full of their pieces.
  std::optional<Chain> PopMore();
  // The last `count` chains were not popped after all; the next Pop() gives them again, as the
  // driver has changed them by then. They must be the latest and not pushed.
  void Undo(uint16_t count);
  // The driver's again: `written` bytes of the writable pieces, from their start.
  void Push(uint16_t head, uint32_t written);
  // Does the driver want an interrupt for what was pushed since the last question?
  bool InterruptDue();
  bool broken() const { return state_.broken; }
  uint16_t size() const { return config_.size; }

  const QueueConfig& config() const { return config_; }
  const QueueState& Save() const { return state_; }

 private:
  Queue(const GuestMemory& memory, const QueueConfig& config, EventIndex event_index,
        const QueueState& state);
  // Is there an entry to take? Asks to be notified when not.
  bool Available();
  std::optional<Chain> ReadChain(uint16_t head);
  std::nullopt_t Broken();

  const GuestMemory* memory_;
  QueueConfig config_;
  bool event_index_;
  QueueState state_;
  // The areas in our memory.
  std::byte* descriptors_ = nullptr;
  std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;
  std::vector<Segment> segments_;  // config_.size of them.
  size_t segments_used_ = 0;
};

}  // namespace msb::vmm
