// SPDX-License-Identifier: Apache-2.0
// BalloonDevice: memory back to the host (virtio 1.2, section 5.5), in two ways.
//
// Inflating: the host sets a target (SetTarget), the guest gives up that many pages, and asks for
// them back by deflating. Free page reporting: the guest's allocator tells of free blocks as they
// come about, and takes them again without asking: nothing to set, and what keeps an idle guest
// small.
//
// Queues: 0 inflate, 1 deflate, 2 reporting. Section 5.5.2 numbers reporting 4; Linux counts only
// the queues whose features were negotiated (and every device model follows it), and statistics and
// free page hints are not offered here.

#pragma once

#include <atomic>
#include <cstdint>

#include "event/loop.h"
#include "vmm/virtio/device.h"

namespace msb::vmm {

inline constexpr uint32_t kBalloonPageBytes = 4096;  // 5.5.6: whatever the guest's page size.

struct BalloonMetrics {
  std::atomic<uint64_t> inflated_pages = 0;
  std::atomic<uint64_t> deflated_pages = 0;
  std::atomic<uint64_t> reported_bytes = 0;
};

class BalloonDevice final : public Device {
 public:
  explicit BalloonDevice(event::Loop& loop) : loop_(loop) {}

  // How many pages of 4 KiB the guest is asked to give up. Device thread.
  void SetTarget(uint32_t pages);
  // How many the guest says it has given up. Any thread.
  uint32_t actual_pages() const { return actual_.load(std::memory_order_relaxed); }
  const BalloonMetrics& metrics() const { return metrics_; }

  uint32_t device_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_limits() const override;
  void ReadConfig(uint32_t offset, std::span<std::byte> out) const override;
  void WriteConfig(uint32_t offset, std::span<const std::byte> in) override;
  Result<void> Activate(ActiveDevice active) override;
  void Notify(size_t queue) override;
  std::vector<std::byte> SaveState() const override;
  Result<void> RestoreState(std::span<const std::byte> bytes) override;
  void Reset() override;

 private:
  // Each: false when the guest made a mistake.
  bool Serve(size_t queue, const Chain& chain);
  bool Inflate(const Chain& chain);
  bool Report(const Chain& chain);

  event::Loop& loop_;
  event::Loop::Timer more_;
  uint32_t more_queues_ = 0;  // A bit for each queue that had more than one round's worth.
  std::atomic<uint32_t> target_ = 0;
  std::atomic<uint32_t> actual_ = 0;
  BalloonMetrics metrics_;
  ActiveDevice active_;
};

}  // namespace msb::vmm
