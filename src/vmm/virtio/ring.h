// SPDX-License-Identifier: Apache-2.0
// The layout of a split virtqueue in guest memory (virtio 1.2, 2.7.5 to 2.7.8). Our own, because
// <linux/virtio_ring.h> is not C++.

#pragma once

#include <cstddef>
#include <cstdint>

namespace msb::vmm {

struct RingDescriptor {
  uint64_t address;
  uint32_t bytes;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(RingDescriptor) == 16);

inline constexpr uint16_t kDescriptorNext = 1;
inline constexpr uint16_t kDescriptorWrite = 2;  // The device writes.
inline constexpr uint16_t kDescriptorIndirect = 4;

struct UsedEntry {
  uint32_t head;
  uint32_t written;
};
static_assert(sizeof(UsedEntry) == 8);

// Offsets into both rings: flags, index, entries; behind the entries the event index.
inline constexpr size_t kRingFlags = 0;
inline constexpr size_t kRingIndex = 2;
inline constexpr size_t kRingEntries = 4;
inline constexpr uint16_t kNoInterrupt = 1;  // In the flags of the available ring.

constexpr size_t UsedEventOffset(size_t size) { return kRingEntries + 2 * size; }  // In available.
constexpr size_t AvailableEventOffset(size_t size) {                               // In used.
  return kRingEntries + sizeof(UsedEntry) * size;
}

constexpr size_t DescriptorBytes(size_t size) { return sizeof(RingDescriptor) * size; }
constexpr size_t AvailableBytes(size_t size) { return UsedEventOffset(size) + 2; }
constexpr size_t UsedBytes(size_t size) { return AvailableEventOffset(size) + 2; }

inline constexpr uint64_t kFeatureEventIndex = uint64_t{1} << 29;  // VIRTIO_F_EVENT_IDX

}  // namespace msb::vmm
