// SPDX-License-Identifier: Apache-2.0
// Steps of a hostile guest. Most are nearly right, so that the deeper places are reached.

#include "vmm/virtio/test_fuzz_guest.h"

#include <array>

#include "base/check.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kMemory = 2 * kMiB;
constexpr uint64_t kQueueArea = 64 * kKiB;
constexpr uint64_t kBuffers = 512 * kKiB;

QueueConfig ConfigOf(size_t index, uint16_t size) {
  uint64_t base = kQueueArea * (index + 1);
  return {
      .size = size, .descriptors = {base}, .available = {base + 0x4000}, .used = {base + 0x8000}};
}

}  // namespace

GuestArena& FuzzGuest::Arena() {
  static GuestArena arena(kMemory);
  return arena;
}

FuzzGuest::FuzzGuest(Device& device, std::function<void()> settle)
    : device_(device),
      settle_(std::move(settle)),
      transport_(device, Arena().memory(), interrupt_, thread_),
      driver_(Arena(), transport_) {
  auto memory = Arena().memory().Slice({0}, kMemory);
  std::memset(memory->data(), 0, memory->size());
}

void FuzzGuest::Start(uint32_t features) {
  for (uint32_t status : {0U, 1U, 3U}) driver_.Write(0x070, status);
  uint64_t accepted = driver_.OfferedFeatures() & (uint64_t{1} << 32 | features);
  for (uint32_t half : {0U, 1U}) {
    driver_.Write(0x024, half);
    driver_.Write(0x020, static_cast<uint32_t>(accepted >> (32 * half)));
  }
  driver_.Write(0x070, 11);
  auto limits = device_.queue_limits();
  for (uint32_t i = 0; i < limits.size(); i++) driver_.SetQueue(i, ConfigOf(i, limits[i]));
  driver_.Write(0x070, 15);
}

void FuzzGuest::Run(std::span<const std::byte> input, const std::function<void(ByteReader&)>& own) {
  Start(0xffffffff);
  ByteReader in(input);
  while (Step(in, own).ok()) continue;
  settle_();
  (void)transport_.Save();
  driver_.Write(0x070, 0);
}

Result<void> FuzzGuest::Step(ByteReader& in, const std::function<void(ByteReader&)>& own) {
  auto what = TRY(in.Number<uint8_t>());
  switch (what % 10) {
    case 0:
    case 1:
      return WriteDescriptor(in, what % 10 == 1);
    case 2:
    case 3:
      return Announce(in);
    case 4:
      transport_.OnQueueKick(TRY(QueueIndex(in)));
      settle_();
      return {};
    case 5:
      return WriteMemory(in);
    case 6:
      return UseRegister(in);
    case 7:
      Start(TRY(in.Number<uint32_t>()));
      return {};
    default:
      own(in);
      settle_();
      return {};
  }
}

Result<size_t> FuzzGuest::QueueIndex(ByteReader& in) {
  return TRY(in.Number<uint8_t>()) % device_.queue_limits().size();
}

Result<void> FuzzGuest::WriteDescriptor(ByteReader& in, bool hostile) {
  auto queue = TRY(QueueIndex(in));
  uint16_t size = device_.queue_limits()[queue];
  auto slot = size_t{TRY(in.Number<uint8_t>())} % size;
  RingDescriptor descriptor{};
  if (hostile) {
    descriptor.address = TRY(in.Number<uint64_t>());
    descriptor.bytes = TRY(in.Number<uint32_t>());
    descriptor.flags = TRY(in.Number<uint16_t>());
    descriptor.next = TRY(in.Number<uint16_t>());
  } else {
    descriptor.address = kBuffers + uint64_t{TRY(in.Number<uint16_t>())} * 16;
    descriptor.bytes = TRY(in.Number<uint16_t>());
    descriptor.flags = TRY(in.Number<uint8_t>()) % 4;
    descriptor.next = static_cast<uint16_t>(TRY(in.Number<uint8_t>()) % size);
  }
  GuestAddress at = ConfigOf(queue, size).descriptors + DescriptorBytes(slot);
  return Arena().memory().WriteObject(at, descriptor);
}

Result<void> FuzzGuest::Announce(ByteReader& in) {
  auto queue = TRY(QueueIndex(in));
  uint16_t size = device_.queue_limits()[queue];
  auto head = TRY(in.Number<uint16_t>());
  auto config = ConfigOf(queue, size);
  auto index = TRY(Arena().memory().ReadObject<uint16_t>(config.available + kRingIndex));
  // Now and then another index than the next.
  auto next = static_cast<uint16_t>(head >= 0xff00 ? head : index + 1);
  TRY(Arena().memory().WriteObject(config.available + kRingEntries + size_t{2} * (index % size),
                                   head));
  return Arena().memory().WriteObject(config.available + kRingIndex, next);
}

Result<void> FuzzGuest::WriteMemory(ByteReader& in) {
  auto at = uint64_t{TRY(in.Number<uint16_t>())} * 16 + kBuffers;
  auto bytes = TRY(in.Bytes(TRY(in.Number<uint8_t>())));
  auto slice = TRY(Arena().memory().Slice({at}, bytes.size()));
  std::memcpy(slice.data(), bytes.data(), bytes.size());
  return {};
}

Result<void> FuzzGuest::UseRegister(ByteReader& in) {
  uint32_t offset = TRY(in.Number<uint16_t>()) % (kMmioBytes + 16);
  auto width = TRY(in.Number<uint8_t>()) % 10U;
  auto value = TRY(in.Number<uint64_t>());
  std::array<std::byte, 16> bytes{};
  transport_.Read(offset, std::span(bytes).first(width));
  StoreLittle(bytes.data(), value);
  transport_.Write(offset, std::span(bytes).first(width));
  settle_();
  return {};
}

}  // namespace msb::vmm
