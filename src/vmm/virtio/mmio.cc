// SPDX-License-Identifier: Apache-2.0
// The register file, the status machine and what each transition asks of the device thread.

#include "vmm/virtio/mmio.h"

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

constexpr uint32_t kMagic = 0x74726976;   // "virt"
constexpr uint32_t kVendor = 0x0042534d;  // "MSB"
constexpr uint64_t kVersion1 = uint64_t{1} << VIRTIO_F_VERSION_1;

constexpr uint32_t kAcknowledge = VIRTIO_CONFIG_S_ACKNOWLEDGE;
constexpr uint32_t kDriver = VIRTIO_CONFIG_S_DRIVER;
constexpr uint32_t kFeaturesOk = VIRTIO_CONFIG_S_FEATURES_OK;
constexpr uint32_t kDriverOk = VIRTIO_CONFIG_S_DRIVER_OK;
constexpr uint32_t kFailed = VIRTIO_CONFIG_S_FAILED;
constexpr uint32_t kAllBits = kAcknowledge | kDriver | kFeaturesOk | kDriverOk | kFailed;

static_assert(kMmioQueueNotify == VIRTIO_MMIO_QUEUE_NOTIFY);

uint32_t Half(uint64_t value, uint32_t select) {
  return select > 1 ? 0 : static_cast<uint32_t>(value >> (32 * select));
}

void SetHalf(uint64_t& value, uint32_t half, unsigned shift) {
  value = (value & ~(uint64_t{0xffffffff} << shift)) | (uint64_t{half} << shift);
}

// Each bit needs those that come before it in the picture of the header.
bool InOrder(uint32_t status) {
  auto has = [&](uint32_t bit) { return (status & bit) != 0; };
  return (!has(kDriver) || has(kAcknowledge)) && (!has(kFeaturesOk) || has(kDriver)) &&
         (!has(kDriverOk) || has(kFeaturesOk));
}

TransportState Fresh(const Device& device, size_t queues) {
  TransportState state;
  state.device_id = device.device_id();
  state.queues.resize(queues);
  return state;
}

}  // namespace

MmioTransport::MmioTransport(Device& device, const GuestMemory& memory, Interrupt& interrupt,
                             DeviceThread& thread)
    : device_(device),
      memory_(memory),
      interrupt_(interrupt),
      thread_(thread),
      limits_(device.queue_limits()),
      registers_(Fresh(device, limits_.size())),
      queues_(limits_.size()) {
  CHECK(limits_.size() <= kMaxSavedQueues);
}

MmioTransport::~MmioTransport() {
  if (active_) device_.Reset();
}

uint64_t MmioTransport::OfferedFeatures() const { return device_.features() | kVersion1; }

void MmioTransport::Read(uint32_t offset, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (out.size() > 8 || offset >= kMmioBytes || out.size() > kMmioBytes - offset) {
    metrics_.bad_accesses.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (offset >= VIRTIO_MMIO_CONFIG) {
    device_.ReadConfig(offset - VIRTIO_MMIO_CONFIG, out);
    return;
  }
  // 4.2.2.2: the driver uses aligned 32-bit accesses only.
  if (out.size() != 4 || offset % 4 != 0) {
    metrics_.bad_accesses.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  StoreLittle(out.data(), ReadRegister(offset));
}

uint32_t MmioTransport::ReadRegister(uint32_t offset) const {
  // Read at every interrupt: without the lock.
  if (offset == VIRTIO_MMIO_INTERRUPT_STATUS)
    return interrupt_status_.load(std::memory_order_acquire);
  std::lock_guard lock(mutex_);
  uint32_t select = registers_.queue_select;
  switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
      return kMagic;
    case VIRTIO_MMIO_VERSION:
      return 2;
    case VIRTIO_MMIO_DEVICE_ID:
      return device_.device_id();
    case VIRTIO_MMIO_VENDOR_ID:
      return kVendor;
    case VIRTIO_MMIO_DEVICE_FEATURES:
      return Half(OfferedFeatures(), registers_.device_features_select);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
      return select < limits_.size() ? limits_[select] : 0;
    case VIRTIO_MMIO_QUEUE_READY:
      return select < limits_.size() && registers_.queues[select].ready ? 1 : 0;
    case VIRTIO_MMIO_STATUS:
      return registers_.status | (needs_reset() ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
    case VIRTIO_MMIO_CONFIG_GENERATION:
      return generation_.load(std::memory_order_acquire);
    // 4.2.2: the length of a shared memory region that does not exist is all ones.
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
      return 0xffffffff;
    default:
      return 0;
  }
}

void MmioTransport::Write(uint32_t offset, std::span<const std::byte> in) {
  if (in.empty() || in.size() > 8 || offset >= kMmioBytes || in.size() > kMmioBytes - offset ||
      (offset < VIRTIO_MMIO_CONFIG && (in.size() != 4 || offset % 4 != 0))) {
    metrics_.bad_accesses.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (offset >= VIRTIO_MMIO_CONFIG) {
    device_.WriteConfig(offset - VIRTIO_MMIO_CONFIG, in);
    return;
  }
  WriteRegister(offset, LoadLittle<uint32_t>(in.data()));
}

void MmioTransport::WriteRegister(uint32_t offset, uint32_t value) {
  switch (offset) {
    // Written at every interrupt, at every kick: without the lock.
    case VIRTIO_MMIO_INTERRUPT_ACK:
      interrupt_status_.fetch_and(~value, std::memory_order_acq_rel);
      return;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
      thread_.Call([this, value] { OnQueueKick(value); });
      return;
    default:
      break;
  }
  std::lock_guard lock(mutex_);
  switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      registers_.device_features_select = value;
      return;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      registers_.driver_features_select = value;
      return;
    case VIRTIO_MMIO_DRIVER_FEATURES:
      return WriteDriverFeatures(value);
    case VIRTIO_MMIO_QUEUE_SEL:
      registers_.queue_select = value;
      return;
    case VIRTIO_MMIO_STATUS:
      return WriteStatus(value);
    case VIRTIO_MMIO_QUEUE_NUM:
    case VIRTIO_MMIO_QUEUE_READY:
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
      return WriteQueueRegister(offset, value);
    case VIRTIO_MMIO_SHM_SEL:
      return;
    default:
      return Ignore();
  }
}

void MmioTransport::WriteDriverFeatures(uint32_t value) {
  uint32_t select = registers_.driver_features_select;
  bool now = (registers_.status & (kDriver | kFeaturesOk | kFailed)) == kDriver;
  if (!now || select > 1) return Ignore();
  SetHalf(registers_.driver_features, value, 32 * select);
}

void MmioTransport::WriteQueueRegister(uint32_t offset, uint32_t value) {
  uint32_t select = registers_.queue_select;
  bool now = (registers_.status & (kFeaturesOk | kDriverOk | kFailed)) == kFeaturesOk;
  if (!now || select >= limits_.size()) return Ignore();
  SavedQueue& queue = registers_.queues[select];
  if (offset == VIRTIO_MMIO_QUEUE_READY) {
    queue.ready = (value & 1) != 0;
    return;
  }
  if (queue.ready) return Ignore();
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
      if (value > limits_[select]) return Ignore();
      queue.config.size = static_cast<uint16_t>(value);
      return;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
      return SetHalf(queue.config.descriptors.value, value, 0);
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      return SetHalf(queue.config.descriptors.value, value, 32);
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
      return SetHalf(queue.config.available.value, value, 0);
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
      return SetHalf(queue.config.available.value, value, 32);
    case VIRTIO_MMIO_QUEUE_USED_LOW:
      return SetHalf(queue.config.used.value, value, 0);
    default:
      return SetHalf(queue.config.used.value, value, 32);
  }
}

void MmioTransport::WriteStatus(uint32_t value) {
  if (value == 0) {
    thread_.Call([this] { Reset(); });
    registers_ = Fresh(device_, limits_.size());
    return;
  }
  uint32_t before = registers_.status;
  value &= kAllBits;
  // 2.1.1: the driver does not clear a bit but by a reset.
  if ((value & before) != before || !InOrder(value)) return Ignore();
  uint32_t added = value & ~before;
  if ((added & kFeaturesOk) != 0) {
    uint64_t accepted = registers_.driver_features;
    // 2.2.2: what cannot be agreed on is told by the bit staying clear.
    if ((accepted & ~OfferedFeatures()) != 0 || (accepted & kVersion1) == 0) {
      registers_.status = value & ~(kFeaturesOk | kDriverOk);
      return;
    }
  }
  registers_.status = value;
  if ((added & kDriverOk) != 0 && (value & kFailed) == 0)
    thread_.Call([this] {
      // Why is not logged: the guest could fill a log with it. needs_reset is counted.
      if (!Activate({}).ok()) NeedsReset();
    });
}

Result<void> MmioTransport::Activate(std::span<const QueueState> states) {
  auto event_index =
      (registers_.driver_features & kFeatureEventIndex) != 0 ? EventIndex::kOn : EventIndex::kOff;
  std::vector<std::optional<Queue>> queues(limits_.size());
  for (size_t i = 0; i < queues.size(); i++) {
    const SavedQueue& saved = registers_.queues[i];
    if (!saved.ready) continue;
    queues[i] = TRY(Queue::Create(memory_, saved.config, event_index,
                                  i < states.size() ? states[i] : QueueState())
                        .Context(Cat("queue ", i)));
  }
  queues_ = std::move(queues);
  active_ = true;
  metrics_.activations.fetch_add(1, std::memory_order_relaxed);
  auto activated = device_.Activate({.queues = queues_,
                                     .features = registers_.driver_features,
                                     .memory = &memory_,
                                     .signal = this});
  if (!activated.ok()) {
    device_.Reset();
    active_ = false;
  }
  return activated;
}

void MmioTransport::Reset() {
  if (active_) device_.Reset();
  active_ = false;
  for (auto& queue : queues_) queue.reset();
  interrupt_status_.store(0, std::memory_order_release);
  needs_reset_.store(false, std::memory_order_release);
  metrics_.resets.fetch_add(1, std::memory_order_relaxed);
}

void MmioTransport::OnQueueKick(size_t queue) {
  if (!active_ || queue >= queues_.size() || !queues_[queue]) return;
  if (needs_reset()) return;
  device_.Notify(queue);
}

void MmioTransport::UsedBuffers() {
  interrupt_status_.fetch_or(VIRTIO_MMIO_INT_VRING, std::memory_order_acq_rel);
  interrupt_.Raise();
}

void MmioTransport::ConfigChanged() {
  generation_.fetch_add(1, std::memory_order_acq_rel);
  interrupt_status_.fetch_or(VIRTIO_MMIO_INT_CONFIG, std::memory_order_acq_rel);
  interrupt_.Raise();
}

void MmioTransport::NeedsReset() {
  if (needs_reset_.exchange(true, std::memory_order_acq_rel)) return;
  metrics_.needs_reset.fetch_add(1, std::memory_order_relaxed);
  ConfigChanged();
}

TransportState MmioTransport::Save() const {
  std::lock_guard lock(mutex_);
  TransportState state = registers_;
  state.interrupt_status = interrupt_status_.load(std::memory_order_acquire);
  state.generation = generation_.load(std::memory_order_acquire);
  state.needs_reset = needs_reset();
  for (size_t i = 0; i < queues_.size(); i++)
    if (queues_[i]) state.queues[i].progress = queues_[i]->Save();
  if (active_) state.device = device_.SaveState();
  return state;
}

Result<void> MmioTransport::Restore(const TransportState& state) {
  std::lock_guard lock(mutex_);
  if (state.device_id != device_.device_id() || state.queues.size() != limits_.size())
    return Error(Code::kDataLoss, Cat("saved state of device type ", state.device_id, " with ",
                                      state.queues.size(), " queues: not this device's"));
  if (!InOrder(state.status) || (state.status & ~kAllBits) != 0 ||
      ((state.status & kFeaturesOk) != 0 && (state.driver_features & ~OfferedFeatures()) != 0))
    return Error(Code::kDataLoss, "saved status and features contradict each other");
  for (size_t i = 0; i < limits_.size(); i++)
    if (state.queues[i].config.size > limits_[i])
      return Error(Code::kDataLoss, Cat("saved queue ", i, " is larger than the device's"));

  TransportState before = std::exchange(registers_, state);
  for (SavedQueue& queue : registers_.queues) queue.progress = {};
  registers_.device.clear();
  if ((state.status & (kDriverOk | kFailed)) == kDriverOk && !state.needs_reset) {
    std::vector<QueueState> progress;
    for (const SavedQueue& queue : state.queues) progress.push_back(queue.progress);
    auto restored = Activate(progress);
    if (restored.ok()) {
      restored = device_.RestoreState(state.device);
      if (!restored.ok()) Reset();
    }
    if (!restored.ok()) {
      registers_ = std::move(before);
      return restored;
    }
  }
  interrupt_status_.store(state.interrupt_status, std::memory_order_release);
  generation_.store(state.generation, std::memory_order_release);
  needs_reset_.store(state.needs_reset, std::memory_order_release);
  if (!active_) return {};
  // Kicks and interrupts on their way when the machine was saved are not in the state.
  for (size_t i = 0; i < queues_.size(); i++) OnQueueKick(i);
  UsedBuffers();
  return {};
}

}  // namespace msb::vmm
