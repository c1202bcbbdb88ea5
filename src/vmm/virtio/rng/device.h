// SPDX-License-Identifier: Apache-2.0
// RngDevice: random bytes of the host's kernel (virtio 1.2, section 5.4).

#pragma once

#include <atomic>
#include <cstdint>

#include "event/loop.h"
#include "vmm/virtio/device.h"

namespace msb::vmm {

struct RngMetrics {
  std::atomic<uint64_t> requests = 0;
  std::atomic<uint64_t> bytes = 0;
};

class RngDevice final : public Device {
 public:
  explicit RngDevice(event::Loop& loop) : loop_(loop) {}

  const RngMetrics& metrics() const { return metrics_; }

  uint32_t device_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_limits() const override;
  void ReadConfig(uint32_t, std::span<std::byte>) const override {}
  Result<void> Activate(ActiveDevice active) override;
  void Notify(size_t queue) override;
  void Reset() override;

 private:
  event::Loop& loop_;
  event::Loop::Timer more_;  // Pending while a full round was done and there may be more.
  RngMetrics metrics_;
  ActiveDevice active_;
};

}  // namespace msb::vmm
