// SPDX-License-Identifier: Apache-2.0
// Device: what a virtio device is to its transport (virtio 1.2, section 2).
//
//              Activate()                       Reset()
//   idle ------------------------> active -------------------> idle
//                                    | a guest's mistake: signal->NeedsReset()
//                                    +-> active, deaf: takes no more buffers until Reset()
//
// Everything runs on the device thread, but ReadConfig() and WriteConfig(), which any vCPU thread
// calls: what they touch is constant or atomic.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/queue.h"

namespace msb::vmm {

// How a device speaks to its driver. Any thread.
class DeviceSignal {
 public:
  virtual ~DeviceSignal() = default;
  // Some queue has new used buffers and Queue::InterruptDue() said yes.
  virtual void UsedBuffers() = 0;
  virtual void ConfigChanged() = 0;
  // The driver broke the rules (virtio 1.2, 2.1.1): status gets DEVICE_NEEDS_RESET, the guest a
  // configuration interrupt. Counted once per activation.
  virtual void NeedsReset() = 0;
  // From then until Reset(). Kicks do not come any more; what comes from elsewhere (timers,
  // sockets, a thread of the device's own) looks here first.
  virtual bool needs_reset() const = 0;
};

// What a device may use between Activate() and the end of Reset(). The transport owns all of it.
struct ActiveDevice {
  // One a queue of queue_limits(); none where the driver set up no such queue.
  std::span<std::optional<Queue>> queues;
  uint64_t features = 0;  // As negotiated: offered and accepted.
  const GuestMemory* memory = nullptr;
  DeviceSignal* signal = nullptr;
};

inline constexpr size_t kMaxDeviceState = 256;

class Device {
 public:
  virtual ~Device() = default;

  // virtio 1.2, section 5: 1 net, 2 block, 3 console, 4 entropy, 5 balloon.
  virtual uint32_t device_id() const = 0;
  // The device's own and VIRTIO_F_EVENT_IDX if it likes; the transport adds VIRTIO_F_VERSION_1.
  virtual uint64_t features() const = 0;
  // The largest size of each queue, a power of two. The number of queues is the span's.
  virtual std::span<const uint16_t> queue_limits() const = 0;

  // `out` is zero before the call; what lies beyond the configuration stays so.
  virtual void ReadConfig(uint32_t offset, std::span<std::byte> out) const = 0;
  // What may not be written is ignored.
  virtual void WriteConfig(uint32_t, std::span<const std::byte>) {}

  // An error says why the driver's set-up cannot work: needs-reset follows.
  virtual Result<void> Activate(ActiveDevice active) = 0;
  // Buffers may be there in `queue`, an index into queue_limits(). Only while active.
  virtual void Notify(size_t queue) = 0;
  // Back to idle. When it returns, no thread of ours uses the guest's memory or the queues any
  // more.
  virtual void Reset() = 0;

  // What the device knows beside its queues, while it is active and at rest; at most
  // kMaxDeviceState bytes.
  virtual std::vector<std::byte> SaveState() const { return {}; }
  // After Activate() on the restored queues, before the first Notify(). Untrusted bytes; after an
  // error comes Reset().
  virtual Result<void> RestoreState(std::span<const std::byte> bytes) {
    if (!bytes.empty()) return Error(Code::kDataLoss, "saved state of a device that has none");
    return {};
  }

  // A device that works on a thread of its own has the guest's kicks of `queue` come there by this
  // eventfd: bind it with KVM_IOEVENTFD and leave its reading to the device. Constant.
  virtual std::optional<BorrowedFd> KickFd(size_t) const { return std::nullopt; }
};

// Copies the part of a configuration that ReadConfig() was asked for.
template <class T>
void CopyConfig(const T& config, uint32_t offset, std::span<std::byte> out) {
  auto bytes = std::as_bytes(std::span(&config, 1));
  if (offset >= bytes.size()) return;
  auto part = bytes.subspan(offset, std::min(out.size(), bytes.size() - offset));
  std::memcpy(out.data(), part.data(), part.size());
}

}  // namespace msb::vmm
