// SPDX-License-Identifier: Apache-2.0
// A driver of virtio-mmio devices that does everything right, and every wrong thing that it is
// asked for (virtio 1.2, 4.2 registers, 2.7 queues). It has event indexes off, so that each answer
// comes with an interrupt.

#pragma once

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <cstddef>
#include <cstdint>

namespace msb::test_guest {

// Memory is mapped where it is: an address of ours is the device's.
inline uint64_t AddressOf(const volatile void* at) { return reinterpret_cast<uint64_t>(at); }

template <class T>
T ReadAt(uint64_t address) {
  // SAFETY: all of the first 4 GiB is mapped; what is no memory answers as the machine likes.
  return *reinterpret_cast<volatile T*>(address);
}
template <class T>
void WriteAt(uint64_t address, T value) {
  // SAFETY: as above; callers name windows of devices or memory that is theirs.
  *reinterpret_cast<volatile T*>(address) = value;
}

struct Descriptor {
  uint64_t address;
  uint32_t bytes;
  uint16_t flags;
  uint16_t next;
};
inline constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

struct Used {
  uint32_t head;
  uint32_t written;
};

// Where a queue lies and how long it is, as the registers take it.
struct QueuePlace {
  uint32_t size;
  uint64_t descriptors;
  uint64_t available;
  uint64_t used;
};

// The driver's side of a queue.
class Ring {
 public:
  static constexpr uint32_t kMaxSize = 256;

  // Empty, of so many entries.
  void Clear(uint32_t size);
  QueuePlace place() const;
  uint32_t size() const { return size_; }

  void Set(uint32_t index, const Descriptor& descriptor);
  void Announce(uint16_t head);
  // Announces no head: only the number of them, whatever it is.
  void SetIndex(uint16_t index);
  uint16_t index() const { return index_; }

  // The next answer; false when there is none yet.
  bool Take(Used& used);
  uint16_t used_index() const { return used_[1]; }
  uint16_t taken() const { return taken_; }

 private:
  // The areas, each in pages of its own.
  alignas(4096) volatile Descriptor descriptors_[kMaxSize];
  alignas(4096) volatile uint16_t available_[2 + kMaxSize + 1];
  alignas(4096) volatile uint16_t used_[2 + 4 * kMaxSize + 1];
  uint32_t size_;
  uint16_t index_;
  uint16_t taken_;
};

inline constexpr uint64_t kVersion1 = uint64_t{1} << 32;
inline constexpr uint64_t kEventIndex = uint64_t{1} << 29;
inline constexpr uint32_t kNeedsReset = VIRTIO_CONFIG_S_NEEDS_RESET;
// Status when the driver has done all.
inline constexpr uint32_t kRunning = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

class Driver {
 public:
  static constexpr uint32_t kMaxQueues = 6;

  // Of the device whose registers are at `window`.
  void Bind(const char* name, uint64_t window, uint32_t line);
  const char* name() const { return name_; }
  uint64_t window() const { return window_; }
  uint32_t line() const { return line_; }

  uint32_t Read(uint32_t offset) const { return ReadAt<uint32_t>(window_ + offset); }
  void Write(uint32_t offset, uint32_t value) const { WriteAt(window_ + offset, value); }
  uint32_t Status() const { return Read(VIRTIO_MMIO_STATUS); }
  uint64_t Offered() const;
  bool NeedsReset() const { return (Status() & kNeedsReset) != 0; }
  bool WaitNeedsReset() const;
  // An interrupt since DRIVER_OK.
  bool WaitInterrupt() const;

  // 3.1.1, in its order. Start() is all of it.
  void Reset() const { Write(VIRTIO_MMIO_STATUS, 0); }
  // Up to FEATURES_OK, with all that is offered but event indexes. False when it was refused.
  bool Negotiate() const;
  void SetFeatures(uint64_t features) const;
  // Writes the registers of a queue, ready at the end.
  void SetQueue(uint32_t queue, const QueuePlace& place) const;
  // Each at its largest, empty.
  void SetAllQueues();
  void SetDriverOk();
  bool Start();

  uint32_t LargestQueue(uint32_t queue) const;
  Ring& ring(uint32_t queue) { return rings_[queue]; }
  void Notify(uint32_t queue) const { Write(VIRTIO_MMIO_QUEUE_NOTIFY, queue); }
  // Announces a chain of `count` descriptors, tells the device, waits for its answer.
  bool Do(uint32_t queue, const Descriptor* chain, uint32_t count, Used& used);
  bool Answer(uint32_t queue, Used& used);

 private:
  const char* name_;
  uint64_t window_;
  uint32_t line_;
  uint32_t interrupts_before_;
  Ring rings_[kMaxQueues];
};

}  // namespace msb::test_guest
