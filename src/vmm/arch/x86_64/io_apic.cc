// SPDX-License-Identifier: Apache-2.0
// Registers, and the way from an edge to a message.

#include "vmm/arch/x86_64/io_apic.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kIndexOffset = 0x00, kWindowOffset = 0x10;
constexpr uint32_t kIdRegister = 0, kVersionRegister = 1, kArbitrationRegister = 2;
constexpr uint32_t kFirstEntryRegister = 0x10;
constexpr uint32_t kVersion = 0x11;

constexpr uint64_t kVectorMask = 0xff;
constexpr uint64_t kDeliveryMask = 0x700;
constexpr uint64_t kLogical = 1 << 11;
constexpr uint64_t kMasked = 1 << 16;
// Delivery status and remote request: the hardware's.
constexpr uint64_t kReadOnly = (1 << 12) | (1 << 14);
constexpr unsigned kTargetShift = 56;

constexpr uint32_t kMessageTargetShift = 12;
constexpr uint32_t kMessageLogical = 1 << 2;

}  // namespace

IoApic::IoApic(uint8_t id, uint32_t pins, Send send)
    : pins_(pins), send_(std::move(send)), id_(uint32_t{id} << 24) {
  CHECK(pins >= 1 && pins <= kMaxPins);
  for (auto& entry : entries_) entry.store(kMasked);
}

void IoApic::Raise(uint32_t pin) {
  CHECK(pin < pins_);
  // Set first, then look: who unmasks stores the entry first and then takes the bit, so one of the
  // two sees the other.
  pending_.fetch_or(1u << pin);
  Deliver(pin);
}

void IoApic::Deliver(uint32_t pin) {
  uint64_t entry = entries_[pin].load();
  if ((entry & kMasked) != 0) return;
  if ((pending_.fetch_and(~(1u << pin)) & (1u << pin)) == 0) return;
  auto target = static_cast<uint32_t>(entry >> kTargetShift);
  uint32_t address = kLocalApicAddress | (target << kMessageTargetShift);
  if ((entry & kLogical) != 0) address |= kMessageLogical;
  send_(address, static_cast<uint32_t>(entry & (kVectorMask | kDeliveryMask)));
}

void IoApic::Read(uint64_t offset, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (out.size() != sizeof(uint32_t)) return;
  std::lock_guard lock(mutex_);
  if (offset == kIndexOffset) StoreLittle(out.data(), index_);
  if (offset == kWindowOffset) StoreLittle(out.data(), ReadRegister(index_));
}

void IoApic::Write(uint64_t offset, std::span<const std::byte> in) {
  if (in.size() != sizeof(uint32_t)) return;
  auto value = LoadLittle<uint32_t>(in.data());
  std::lock_guard lock(mutex_);
  if (offset == kIndexOffset) index_ = value & 0xff;
  if (offset == kWindowOffset) WriteRegister(index_, value);
}

uint32_t IoApic::ReadRegister(uint32_t index) const {
  if (index == kIdRegister || index == kArbitrationRegister) return id_;
  if (index == kVersionRegister) return kVersion | ((pins_ - 1) << 16);
  uint32_t pin = (index - kFirstEntryRegister) / 2;
  if (index < kFirstEntryRegister || pin >= pins_) return 0;
  uint64_t entry = entries_[pin].load();
  return static_cast<uint32_t>(index % 2 == 0 ? entry : entry >> 32);
}

void IoApic::WriteRegister(uint32_t index, uint32_t value) {
  if (index == kIdRegister) id_ = value & 0xff00'0000;
  uint32_t pin = (index - kFirstEntryRegister) / 2;
  if (index < kFirstEntryRegister || pin >= pins_) return;
  uint64_t entry = entries_[pin].load();
  if (index % 2 == 0)
    entry = (entry & ~uint64_t{0xffff'ffff}) | (value & ~kReadOnly);
  else
    entry = (entry & 0xffff'ffff) | (uint64_t{value} << 32);
  entries_[pin].store(entry);
  Deliver(pin);
}

IoApic::State IoApic::Save() {
  std::lock_guard lock(mutex_);
  State state{index_, id_, {}, pending_.load()};
  for (uint32_t pin = 0; pin < pins_; pin++) state.entries[pin] = entries_[pin].load();
  return state;
}

void IoApic::Restore(const State& state) {
  std::lock_guard lock(mutex_);
  index_ = state.index & 0xff;
  id_ = state.id & 0xff00'0000;
  for (uint32_t pin = 0; pin < pins_; pin++) entries_[pin].store(state.entries[pin] & ~kReadOnly);
  pending_.store(state.pending & ((1u << pins_) - 1));
  for (uint32_t pin = 0; pin < pins_; pin++) Deliver(pin);
}

}  // namespace msb::vmm
