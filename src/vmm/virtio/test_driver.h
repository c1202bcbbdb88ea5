// SPDX-License-Identifier: Apache-2.0
// A guest's driver for the tests: speaks to a transport's registers and lays out virtqueues in
// guest memory, properly, or as wrongly as a test wants.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/block/worker.h"
#include "vmm/virtio/mmio.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {

// Runs at once, on the caller's thread: for tests of one thread.
class InlineThread final : public DeviceThread {
 public:
  void Call(std::function<void()> call) override { call(); }
};

// A device thread as the machine has one.
class RealThread final : public DeviceThread {
 public:
  RealThread();
  void Call(std::function<void()> call) override { thread_->Call(call); }
  event::Loop& loop() { return thread_->loop(); }

 private:
  std::unique_ptr<BlockWorker> thread_;  // Any thread with a loop.
};

class CountingInterrupt final : public Interrupt {
 public:
  void Raise() override { count_.fetch_add(1); }
  int count() const { return count_.load(); }

 private:
  std::atomic<int> count_ = 0;
};

// The driver's side of one queue.
class DriverQueue {
 public:
  struct Piece {
    GuestAddress address;
    uint32_t bytes;
    bool write = false;
  };

  DriverQueue(const GuestMemory& memory, const QueueConfig& config, EventIndex event_index);

  // A chain of free descriptors, announced. nullopt: not enough of them are free.
  std::optional<uint16_t> Add(std::span<const Piece> pieces);
  std::optional<uint16_t> Add(std::initializer_list<Piece> pieces) {
    return Add(std::span(pieces.begin(), pieces.size()));
  }
  // The next chain that the device is done with; its descriptors are free again. Asks for an
  // interrupt at the one after it.
  std::optional<UsedEntry> Take();
  // Must the device be told of what was added since the last question?
  bool KickDue();
  size_t free_descriptors() const { return free_.size(); }

  // What no proper driver does.
  void SetDescriptor(uint16_t index, const RingDescriptor& descriptor);
  void Announce(uint16_t head);
  void SetIndex(uint16_t index);
  uint16_t index() const { return added_; }

  const QueueConfig& config() const { return config_; }

 private:
  uint16_t Load(GuestAddress address) const;
  void Store(GuestAddress address, uint16_t value);

  const GuestMemory& memory_;
  const QueueConfig config_;
  const bool event_index_;
  std::vector<uint16_t> free_;
  uint16_t added_ = 0;
  uint16_t kicked_ = 0;
  uint16_t taken_ = 0;
};

inline GuestAddress operator+(GuestAddress address, uint64_t bytes) {
  return {address.value + bytes};
}

// Guest memory, handed out from the front.
class GuestArena {
 public:
  explicit GuestArena(uint64_t bytes);
  const GuestMemory& memory() const { return memory_; }
  GuestAddress Allocate(uint64_t bytes, uint64_t alignment = 64);
  GuestAddress Place(std::string_view text);
  std::string Text(GuestAddress address, size_t bytes) const;
  // From the front again.
  void Rewind() { next_ = kPageBytes; }
  // Areas of a queue of `size`.
  QueueConfig PlaceQueue(uint16_t size);

 private:
  GuestMemory memory_;
  uint64_t next_ = kPageBytes;
};

// One device as its driver sees it.
class TestDriver {
 public:
  TestDriver(GuestArena& arena, MmioTransport& transport) : arena_(arena), transport_(&transport) {}
  // Goes on with a restored transport.
  void Follow(MmioTransport& transport) { transport_ = &transport; }

  uint32_t Read(uint32_t offset);
  void Write(uint32_t offset, uint32_t value);
  uint32_t Status();
  bool NeedsReset();
  uint64_t OfferedFeatures();

  // The whole of 3.1.1 with the given features (all that are offered), up to and with DRIVER_OK.
  // False when the device did not take the features.
  bool Start(std::optional<uint64_t> features = std::nullopt);
  // The same without DRIVER_OK.
  bool Prepare(std::optional<uint64_t> features = std::nullopt);
  void Reset() { Write(0x070, 0); }
  void SetQueue(uint32_t index, const QueueConfig& config);

  DriverQueue& queue(size_t index) { return *queues_[index]; }
  // Tells the device if it wants to be told. On the device thread.
  void Kick(size_t index);
  GuestArena& arena() { return arena_; }

 private:
  GuestArena& arena_;
  MmioTransport* transport_;
  std::vector<std::unique_ptr<DriverQueue>> queues_;
};

}  // namespace msb::vmm
