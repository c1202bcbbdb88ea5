// SPDX-License-Identifier: Apache-2.0
// The driver's half of virtio 1.2, sections 2.7, 3.1 and 4.2.3.

#include "vmm/virtio/test_driver.h"

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_mmio.h>

#include <atomic>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checked.h"

namespace msb::vmm {

RealThread::RealThread() {
  auto thread = BlockWorker::Start();
  CHECK(thread.ok());
  thread_ = std::move(*thread);
}

DriverQueue::DriverQueue(const GuestMemory& memory, const QueueConfig& config,
                         EventIndex event_index)
    : memory_(memory), config_(config), event_index_(event_index == EventIndex::kOn) {
  for (uint16_t i = config.size; i > 0; i--) free_.push_back(static_cast<uint16_t>(i - 1));
}

uint16_t DriverQueue::Load(GuestAddress address) const {
  auto bytes = memory_.Slice(address, 2);
  CHECK(bytes.ok());
  // SAFETY: the areas of a queue are aligned.
  return std::atomic_ref(*reinterpret_cast<uint16_t*>(bytes->data())).load();
}

void DriverQueue::Store(GuestAddress address, uint16_t value) {
  auto bytes = memory_.Slice(address, 2);
  CHECK(bytes.ok());
  // SAFETY: as above.
  std::atomic_ref(*reinterpret_cast<uint16_t*>(bytes->data())).store(value);
}

std::optional<uint16_t> DriverQueue::Add(std::span<const Piece> pieces) {
  if (pieces.empty() || pieces.size() > free_.size()) return std::nullopt;
  uint16_t head = free_.back();
  for (size_t i = 0; i < pieces.size(); i++) {
    uint16_t index = free_.back();
    free_.pop_back();
    bool last = i + 1 == pieces.size();
    SetDescriptor(index, {.address = pieces[i].address.value,
                          .bytes = pieces[i].bytes,
                          .flags = static_cast<uint16_t>((pieces[i].write ? kDescriptorWrite : 0) |
                                                         (last ? 0 : kDescriptorNext)),
                          .next = last ? uint16_t{0} : free_.back()});
  }
  Announce(head);
  return head;
}

std::optional<UsedEntry> DriverQueue::Take() {
  uint16_t done = Load(config_.used + kRingIndex);
  if (done == taken_) {
    if (!event_index_) return std::nullopt;
    Store(config_.available + UsedEventOffset(config_.size), taken_);
    if (Load(config_.used + kRingIndex) == taken_) return std::nullopt;
  }
  auto entry = memory_.ReadObject<UsedEntry>(config_.used + kRingEntries +
                                             sizeof(UsedEntry) * (taken_ % config_.size));
  CHECK(entry.ok() && entry->head < config_.size);
  taken_++;
  for (uint16_t index = static_cast<uint16_t>(entry->head);;) {
    free_.push_back(index);
    auto descriptor =
        memory_.ReadObject<RingDescriptor>(config_.descriptors + DescriptorBytes(index));
    CHECK(descriptor.ok());
    if ((descriptor->flags & kDescriptorNext) == 0) break;
    index = descriptor->next;
  }
  return *entry;
}

bool DriverQueue::KickDue() {
  uint16_t before = std::exchange(kicked_, added_);
  if (!event_index_) return before != added_;
  uint16_t event = Load(config_.used + AvailableEventOffset(config_.size));
  return static_cast<uint16_t>(added_ - event - 1) < static_cast<uint16_t>(added_ - before);
}

void DriverQueue::SetDescriptor(uint16_t index, const RingDescriptor& descriptor) {
  CHECK(memory_.WriteObject(config_.descriptors + DescriptorBytes(index), descriptor).ok());
}

void DriverQueue::Announce(uint16_t head) {
  Store(config_.available + kRingEntries + size_t{2} * (added_ % config_.size), head);
  SetIndex(static_cast<uint16_t>(added_ + 1));
}

void DriverQueue::SetIndex(uint16_t index) {
  added_ = index;
  Store(config_.available + kRingIndex, index);
}

GuestArena::GuestArena(uint64_t bytes)
    : memory_([&] {
        auto memory = GuestMemory::Create(bytes);
        CHECK(memory.ok());
        return std::move(*memory);
      }()) {}

GuestAddress GuestArena::Allocate(uint64_t bytes, uint64_t alignment) {
  uint64_t at = AlignUp(next_, alignment);
  next_ = at + bytes;
  CHECK(memory_.Slice({at}, bytes).ok());
  return {at};
}

GuestAddress GuestArena::Place(std::string_view text) {
  auto at = Allocate(text.size());
  auto bytes = memory_.Slice(at, text.size());
  CHECK(bytes.ok());
  std::memcpy(bytes->data(), text.data(), text.size());
  return at;
}

std::string GuestArena::Text(GuestAddress address, size_t bytes) const {
  auto slice = memory_.Slice(address, bytes);
  CHECK(slice.ok());
  return std::string(AsText(*slice));
}

QueueConfig GuestArena::PlaceQueue(uint16_t size) {
  QueueConfig config{.size = size,
                     .descriptors = Allocate(DescriptorBytes(size)),
                     .available = Allocate(AvailableBytes(size)),
                     .used = Allocate(UsedBytes(size))};
  for (auto [at, bytes] :
       {std::pair(config.available, AvailableBytes(size)), std::pair(config.used, UsedBytes(size))})
    std::memset(memory_.Slice(at, bytes)->data(), 0, bytes);
  return config;
}

uint32_t TestDriver::Read(uint32_t offset) {
  uint32_t value = 0;
  transport_->Read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void TestDriver::Write(uint32_t offset, uint32_t value) {
  transport_->Write(offset, std::as_bytes(std::span(&value, 1)));
}

uint32_t TestDriver::Status() { return Read(VIRTIO_MMIO_STATUS); }
bool TestDriver::NeedsReset() { return (Status() & 0x40) != 0; }

uint64_t TestDriver::OfferedFeatures() {
  Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
  uint64_t high = Read(VIRTIO_MMIO_DEVICE_FEATURES);
  Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
  return high << 32 | Read(VIRTIO_MMIO_DEVICE_FEATURES);
}

bool TestDriver::Prepare(std::optional<uint64_t> features) {
  Reset();
  Write(VIRTIO_MMIO_STATUS, 1);
  Write(VIRTIO_MMIO_STATUS, 3);
  uint64_t accepted = features.value_or(OfferedFeatures());
  Write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
  Write(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<uint32_t>(accepted >> 32));
  Write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
  Write(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<uint32_t>(accepted));
  Write(VIRTIO_MMIO_STATUS, 11);
  if ((Status() & 8) == 0) return false;
  auto event_index = (accepted & kFeatureEventIndex) != 0 ? EventIndex::kOn : EventIndex::kOff;
  queues_.clear();
  for (uint32_t i = 0; i < transport_->queue_count(); i++) {
    Write(VIRTIO_MMIO_QUEUE_SEL, i);
    auto config = arena_.PlaceQueue(static_cast<uint16_t>(Read(VIRTIO_MMIO_QUEUE_NUM_MAX)));
    SetQueue(i, config);
    queues_.push_back(std::make_unique<DriverQueue>(arena_.memory(), config, event_index));
  }
  return true;
}

void TestDriver::SetQueue(uint32_t index, const QueueConfig& config) {
  auto low = [](GuestAddress address) { return static_cast<uint32_t>(address.value); };
  auto high = [](GuestAddress address) { return static_cast<uint32_t>(address.value >> 32); };
  Write(VIRTIO_MMIO_QUEUE_SEL, index);
  Write(VIRTIO_MMIO_QUEUE_READY, 0);
  Write(VIRTIO_MMIO_QUEUE_NUM, config.size);
  Write(VIRTIO_MMIO_QUEUE_DESC_LOW, low(config.descriptors));
  Write(VIRTIO_MMIO_QUEUE_DESC_HIGH, high(config.descriptors));
  Write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, low(config.available));
  Write(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, high(config.available));
  Write(VIRTIO_MMIO_QUEUE_USED_LOW, low(config.used));
  Write(VIRTIO_MMIO_QUEUE_USED_HIGH, high(config.used));
  Write(VIRTIO_MMIO_QUEUE_READY, 1);
}

bool TestDriver::Start(std::optional<uint64_t> features) {
  if (!Prepare(features)) return false;
  Write(VIRTIO_MMIO_STATUS, 15);
  return true;
}

void TestDriver::Kick(size_t index) {
  if (queues_[index]->KickDue()) transport_->OnQueueKick(index);
}

}  // namespace msb::vmm
