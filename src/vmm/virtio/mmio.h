// SPDX-License-Identifier: Apache-2.0
// MmioTransport: the registers of one virtio-mmio device (virtio 1.2, section 4.2.2), 0x200 bytes.
//
//   status:  0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK        writing 0: reset
//            features are written        queues are written  |
//            while DRIVER                while FEATURES_OK   +-- from here on frozen
//
// A write out of its time, to a register that does not exist, of another width than four bytes, is
// ignored and counted; such a read answers 0. Neither ever fails, logs or aborts: the guest writes
// what it likes. A queue that cannot be (outside memory, misaligned) shows at DRIVER_OK: the device
// then needs a reset and was never activated.
//
// Threads: Read() and Write() on any vCPU thread; they take a lock that only vCPU threads take.
// DRIVER_OK and reset are done by the device thread while the vCPU waits. OnQueueKick() on the
// device thread. What both sides use (interrupt status, needs-reset) is atomic.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/device_thread.h"
#include "vmm/virtio/interrupt.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/transport_state.h"

namespace msb::vmm {

inline constexpr uint64_t kMmioBytes = 0x200;
// Where the guest writes the number of a queue that has new buffers: what KVM_IOEVENTFD matches,
// the whole register; which queue is not told, so one eventfd stands for all of a device.
inline constexpr uint32_t kMmioQueueNotify = 0x050;

struct TransportMetrics {
  std::atomic<uint64_t> bad_accesses = 0;    // Width, alignment, or no such register.
  std::atomic<uint64_t> ignored_writes = 0;  // Out of their time.
  std::atomic<uint64_t> activations = 0;
  std::atomic<uint64_t> resets = 0;
  std::atomic<uint64_t> needs_reset = 0;  // The guest's mistakes.
};

class MmioTransport final : private DeviceSignal {
 public:
  // All must live longer than this.
  MmioTransport(Device& device, const GuestMemory& memory, Interrupt& interrupt,
                DeviceThread& thread);
  // Device thread, or when it has ended. The device uses what is owned here: it is drained first.
  ~MmioTransport() override;
  MmioTransport(const MmioTransport&) = delete;
  MmioTransport& operator=(const MmioTransport&) = delete;

  // `offset` into the window. Widths as the processor has them, 1 to 8 bytes; others answer 0.
  void Read(uint32_t offset, std::span<std::byte> out);
  void Write(uint32_t offset, std::span<const std::byte> in);

  // Device thread.
  void OnQueueKick(size_t queue);

  // With all vCPUs stopped and the device thread at rest.
  TransportState Save() const;
  // On a transport fresh from its constructor, before any vCPU runs; activates the device if the
  // saved one was. Device thread. An error leaves the transport as it was, the device not active.
  Result<void> Restore(const TransportState& state);

  size_t queue_count() const { return limits_.size(); }
  Device& device() const { return device_; }
  const TransportMetrics& metrics() const { return metrics_; }

 private:
  void UsedBuffers() override;
  void ConfigChanged() override;
  void NeedsReset() override;
  bool needs_reset() const override { return needs_reset_.load(std::memory_order_acquire); }

  uint32_t ReadRegister(uint32_t offset) const;
  void WriteRegister(uint32_t offset, uint32_t value);
  void WriteQueueRegister(uint32_t offset, uint32_t value);
  void WriteStatus(uint32_t value);
  void WriteDriverFeatures(uint32_t value);
  uint64_t OfferedFeatures() const;
  // Device thread.
  Result<void> Activate(std::span<const QueueState> states);
  void Reset();
  void Ignore() { metrics_.ignored_writes.fetch_add(1, std::memory_order_relaxed); }

  Device& device_;
  const GuestMemory& memory_;
  Interrupt& interrupt_;
  DeviceThread& thread_;
  std::span<const uint16_t> limits_;
  TransportMetrics metrics_;

  mutable std::mutex mutex_;  // Of vCPU threads only; guards `registers_`.
  TransportState registers_;  // Its `queues` have no progress: that is in queues_.

  std::atomic<uint32_t> interrupt_status_ = 0;
  std::atomic<uint32_t> generation_ = 0;
  std::atomic<bool> needs_reset_ = false;

  // Device thread.
  std::vector<std::optional<Queue>> queues_;
  bool active_ = false;
};

}  // namespace msb::vmm
