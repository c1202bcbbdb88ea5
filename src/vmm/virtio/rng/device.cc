// SPDX-License-Identifier: Apache-2.0
// getrandom() straight into the guest's buffers.

#include "vmm/virtio/rng/device.h"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <array>

#include "sys/random.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

constexpr std::array<uint16_t, 1> kLimits = {8};
// A request may be 4 GiB long; the driver takes fewer bytes than it asked for (5.4.6.1 asks for one
// at least), so no request holds the thread up or costs memory by its length.
constexpr size_t kMaxBytes = 4096;
constexpr int kRound = 16;

}  // namespace

uint32_t RngDevice::device_id() const { return VIRTIO_ID_RNG; }
uint64_t RngDevice::features() const { return kFeatureEventIndex; }
std::span<const uint16_t> RngDevice::queue_limits() const { return kLimits; }

Result<void> RngDevice::Activate(ActiveDevice active) {
  active_ = active;
  return {};
}

void RngDevice::Reset() {
  more_.Cancel();
  active_ = {};
}

void RngDevice::Notify(size_t) {
  Queue& queue = *active_.queues[0];
  int count = 0;
  while (count < kRound) {
    auto chain = queue.Pop();
    if (!chain) break;
    count++;
    size_t left = kMaxBytes;
    for (Segment segment : chain->writable) {
      auto part = segment.first(std::min(segment.size(), left));
      sys::FillRandom(part);
      left -= part.size();
      if (left == 0) break;
    }
    queue.Push(chain->head, static_cast<uint32_t>(kMaxBytes - left));
    metrics_.requests.fetch_add(1, std::memory_order_relaxed);
    metrics_.bytes.fetch_add(kMaxBytes - left, std::memory_order_relaxed);
  }
  if (queue.InterruptDue()) active_.signal->UsedBuffers();
  if (queue.broken()) return active_.signal->NeedsReset();
  if (count == kRound) {
    more_ = loop_.After(Clock::duration::zero(), [this] {
      if (!active_.signal->needs_reset()) Notify(0);
    });
  }
}

}  // namespace msb::vmm
