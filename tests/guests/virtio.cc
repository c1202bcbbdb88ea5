// SPDX-License-Identifier: Apache-2.0
// Registers and rings.

#include "virtio.h"

#include "clock.h"
#include "cpu.h"

namespace msb::test_guest {

void Ring::Clear(uint32_t size) {
  for (auto& descriptor : descriptors_) {
    descriptor.address = 0;
    descriptor.bytes = 0;
    descriptor.flags = 0;
    descriptor.next = 0;
  }
  for (auto& entry : available_) entry = 0;
  for (auto& entry : used_) entry = 0;
  size_ = size;
  index_ = taken_ = 0;
}

QueuePlace Ring::place() const {
  return {size_, AddressOf(descriptors_), AddressOf(available_), AddressOf(used_)};
}

void Ring::Set(uint32_t index, const Descriptor& descriptor) {
  volatile Descriptor& at = descriptors_[index];
  at.address = descriptor.address;
  at.bytes = descriptor.bytes;
  at.flags = descriptor.flags;
  at.next = descriptor.next;
}

void Ring::Announce(uint16_t head) {
  available_[2 + index_ % size_] = head;
  Barrier();
  SetIndex(static_cast<uint16_t>(index_ + 1));
}

void Ring::SetIndex(uint16_t index) { available_[1] = index_ = index; }

bool Ring::Take(Used& used) {
  if (used_[1] == taken_) return false;
  Barrier();
  const volatile uint16_t* entry = used_ + 2 + 4 * (taken_++ % size_);
  used = {entry[0] | uint32_t{entry[1]} << 16, entry[2] | uint32_t{entry[3]} << 16};
  return true;
}

void Driver::Bind(const char* name, uint64_t window, uint32_t line) {
  name_ = name;
  window_ = window;
  line_ = line;
}

uint64_t Driver::Offered() const {
  Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
  uint64_t high = Read(VIRTIO_MMIO_DEVICE_FEATURES);
  Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
  return high << 32 | Read(VIRTIO_MMIO_DEVICE_FEATURES);
}

bool Driver::WaitNeedsReset() const {
  return WaitFor([this] { return NeedsReset(); });
}

bool Driver::WaitInterrupt() const {
  return WaitFor([this] { return InterruptsOf(line_) != interrupts_before_; });
}

void Driver::SetDriverOk() {
  interrupts_before_ = InterruptsOf(line_);
  Write(VIRTIO_MMIO_STATUS, kRunning);
}

void Driver::SetFeatures(uint64_t features) const {
  for (uint32_t half = 0; half < 2; half++) {
    Write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
    Write(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<uint32_t>(features >> 32 * half));
  }
}

bool Driver::Negotiate() const {
  constexpr uint32_t kFound = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
  Write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
  Write(VIRTIO_MMIO_STATUS, kFound);
  SetFeatures(Offered() & ~kEventIndex);
  Write(VIRTIO_MMIO_STATUS, kFound | VIRTIO_CONFIG_S_FEATURES_OK);
  return Status() == (kFound | VIRTIO_CONFIG_S_FEATURES_OK);
}

void Driver::SetQueue(uint32_t queue, const QueuePlace& place) const {
  auto write = [this](uint32_t low, uint64_t address) {
    Write(low, static_cast<uint32_t>(address));
    Write(low + 4, static_cast<uint32_t>(address >> 32));
  };
  Write(VIRTIO_MMIO_QUEUE_SEL, queue);
  Write(VIRTIO_MMIO_QUEUE_NUM, place.size);
  write(VIRTIO_MMIO_QUEUE_DESC_LOW, place.descriptors);
  write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, place.available);
  write(VIRTIO_MMIO_QUEUE_USED_LOW, place.used);
  Write(VIRTIO_MMIO_QUEUE_READY, 1);
}

uint32_t Driver::LargestQueue(uint32_t queue) const {
  Write(VIRTIO_MMIO_QUEUE_SEL, queue);
  return Read(VIRTIO_MMIO_QUEUE_NUM_MAX);
}

void Driver::SetAllQueues() {
  for (uint32_t queue = 0; queue < kMaxQueues; queue++) {
    uint32_t size = LargestQueue(queue);
    if (size == 0 || size > Ring::kMaxSize) return;
    rings_[queue].Clear(size);
    SetQueue(queue, rings_[queue].place());
  }
}

bool Driver::Start() {
  Reset();
  if (!Negotiate()) return false;
  SetAllQueues();
  SetDriverOk();
  return Status() == kRunning;
}

bool Driver::Answer(uint32_t queue, Used& used) {
  return WaitFor([&] { return rings_[queue].Take(used); });
}

bool Driver::Do(uint32_t queue, const Descriptor* chain, uint32_t count, Used& used) {
  Ring& ring = rings_[queue];
  for (uint32_t i = 0; i < count; i++) {
    Descriptor descriptor = chain[i];
    if (i + 1 < count) {
      descriptor.flags = static_cast<uint16_t>(descriptor.flags | kNext);
      descriptor.next = static_cast<uint16_t>(i + 1);
    }
    ring.Set(i, descriptor);
  }
  ring.Announce(0);
  Notify(queue);
  return Answer(queue, used);
}

}  // namespace msb::test_guest
