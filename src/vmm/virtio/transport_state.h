// SPDX-License-Identifier: Apache-2.0
// What a transport and its queues are made of, as plain data, and as bytes of a saved machine.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/virtio/queue.h"

namespace msb::vmm {

struct SavedQueue {
  QueueConfig config;
  bool ready = false;
  QueueState progress;  // Nothing but zeros while the device is not active.
  friend bool operator==(const SavedQueue&, const SavedQueue&) = default;
};

struct TransportState {
  uint32_t device_id = 0;
  uint32_t status = 0;  // Without DEVICE_NEEDS_RESET, which is `needs_reset`.
  uint64_t driver_features = 0;
  uint32_t device_features_select = 0;
  uint32_t driver_features_select = 0;
  uint32_t queue_select = 0;
  uint32_t interrupt_status = 0;
  uint32_t generation = 0;
  bool needs_reset = false;
  std::vector<SavedQueue> queues;  // As many as the device has.
  std::vector<std::byte> device;   // Device::SaveState(), while it is active.
  friend bool operator==(const TransportState&, const TransportState&) = default;
};

inline constexpr size_t kMaxSavedQueues = 16;

std::vector<std::byte> SerializeTransport(const TransportState& state);
// Untrusted bytes: exactly one state, every number in its range.
Result<TransportState> ParseTransport(std::span<const std::byte> bytes);

}  // namespace msb::vmm
