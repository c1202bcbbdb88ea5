// SPDX-License-Identifier: Apache-2.0

#include "vmm/virtio/mmio.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/bytes.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kVersion1 = uint64_t{1} << 32;
enum Register : uint32_t {
  kDeviceFeatures = 0x010,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueNumMax = 0x034,
  kQueueNum = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kShmLenLow = 0x0b0,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};

// Remembers what it was asked.
class RecordingDevice final : public Device {
 public:
  uint32_t device_id() const override { return 42; }
  uint64_t features() const override { return kFeatureEventIndex | 0b101; }
  std::span<const uint16_t> queue_limits() const override { return kLimits; }
  void ReadConfig(uint32_t offset, std::span<std::byte> out) const override {
    CopyConfig(config, offset, out);
  }
  void WriteConfig(uint32_t offset, std::span<const std::byte> in) override {
    written = std::to_string(offset) + ":" + std::to_string(in.size());
  }
  Result<void> Activate(ActiveDevice given) override {
    active = given;
    activations++;
    if (refuse) return Error(Code::kInvalidArgument, "no");
    return {};
  }
  void Notify(size_t queue) override { notified += std::to_string(queue); }
  void Reset() override {
    active = {};
    resets++;
  }

  static constexpr std::array<uint16_t, 2> kLimits = {16, 4};
  std::array<uint8_t, 10> config = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  std::string written;
  std::string notified;
  ActiveDevice active;
  int activations = 0;
  int resets = 0;
  bool refuse = false;
};

class Mmio : public testing::Test {
 protected:
  GuestArena arena_{kMiB};
  RecordingDevice device_;
  CountingInterrupt interrupt_;
  InlineThread thread_;
  MmioTransport transport_{device_, arena_.memory(), interrupt_, thread_};
  TestDriver driver_{arena_, transport_};
};

TEST_F(Mmio, SaysWhatItIs) {
  EXPECT_EQ(driver_.Read(0x000), 0x74726976U);
  EXPECT_EQ(driver_.Read(0x004), 2U);
  EXPECT_EQ(driver_.Read(0x008), 42U);
  EXPECT_EQ(driver_.OfferedFeatures(), kVersion1 | kFeatureEventIndex | 0b101);
  EXPECT_EQ(driver_.Read(kQueueNumMax), 16U);
  driver_.Write(kQueueSelect, 1);
  EXPECT_EQ(driver_.Read(kQueueNumMax), 4U);
  driver_.Write(kQueueSelect, 2);
  EXPECT_EQ(driver_.Read(kQueueNumMax), 0U);
  driver_.Write(kQueueSelect, 0xffffffff);
  EXPECT_EQ(driver_.Read(kQueueNumMax), 0U);
  EXPECT_EQ(driver_.Read(kShmLenLow), 0xffffffffU);
}

TEST_F(Mmio, ActivatesAtDriverOk) {
  ASSERT_TRUE(driver_.Prepare(kVersion1 | 0b100));
  EXPECT_EQ(device_.activations, 0);
  driver_.Write(kStatus, 15);
  EXPECT_EQ(device_.activations, 1);
  EXPECT_EQ(device_.active.features, kVersion1 | 0b100);
  ASSERT_EQ(device_.active.queues.size(), 2U);
  EXPECT_EQ(device_.active.queues[0]->size(), 16);
  EXPECT_EQ(device_.active.queues[1]->size(), 4);
  EXPECT_EQ(driver_.Status(), 15U);
  driver_.Write(kStatus, 15);
  EXPECT_EQ(device_.activations, 1);
}

TEST_F(Mmio, LeavesOutQueuesThatAreNotReady) {
  ASSERT_TRUE(driver_.Prepare());
  driver_.Write(kQueueSelect, 1);
  driver_.Write(kQueueReady, 0);
  driver_.Write(kStatus, 15);
  EXPECT_TRUE(device_.active.queues[0]);
  EXPECT_FALSE(device_.active.queues[1]);
  transport_.OnQueueKick(1);
  transport_.OnQueueKick(0);
  EXPECT_EQ(device_.notified, "0");
}

TEST_F(Mmio, RefusesFeaturesThatAreNotOffered) {
  EXPECT_FALSE(driver_.Start(kVersion1 | 0b1000));
  EXPECT_FALSE(driver_.Start(uint64_t{0b1}));  // Without VERSION_1.
  EXPECT_EQ(driver_.Status(), 3U);
  EXPECT_EQ(device_.activations, 0);
  EXPECT_TRUE(driver_.Start());
}

TEST_F(Mmio, GoesThroughStatesInOrderOnly) {
  driver_.Write(kStatus, 2);
  EXPECT_EQ(driver_.Status(), 0U);
  driver_.Write(kStatus, 1);
  driver_.Write(kStatus, 4 | 1);
  driver_.Write(kStatus, 8 | 1);
  EXPECT_EQ(driver_.Status(), 1U);
  driver_.Write(kStatus, 3);
  driver_.Write(kStatus, 7);  // DRIVER_OK without FEATURES_OK.
  EXPECT_EQ(driver_.Status(), 3U);
  driver_.Write(kStatus, 1);  // A bit cleared.
  EXPECT_EQ(driver_.Status(), 3U);
  driver_.Write(kStatus, 0x40 | 3);  // Ours to set.
  EXPECT_EQ(driver_.Status(), 3U);
  driver_.Write(kStatus, 0x80 | 3);
  EXPECT_EQ(driver_.Status(), 0x83U);
  driver_.Write(kStatus, 0);
  EXPECT_EQ(driver_.Status(), 0U);
  EXPECT_EQ(device_.activations, 0);
}

TEST_F(Mmio, FreezesAtDriverOk) {
  ASSERT_TRUE(driver_.Start());
  auto before = transport_.Save();
  auto ignored = transport_.metrics().ignored_writes.load();
  for (uint32_t queue : {0U, 1U}) {
    driver_.Write(kQueueSelect, queue);
    for (uint32_t offset = kQueueNum; offset < kConfigGeneration; offset += 4) {
      if (offset == kStatus || offset == kQueueNotify || offset == kInterruptAck) continue;
      driver_.Write(offset, 0x12345678);
    }
    EXPECT_EQ(driver_.Read(kQueueReady), 1U);
  }
  driver_.Write(kDriverFeatures, 0);
  driver_.Write(kQueueSelect, before.queue_select);
  EXPECT_EQ(transport_.Save(), before);
  EXPECT_GT(transport_.metrics().ignored_writes.load(), ignored + 16);
}

TEST_F(Mmio, FreezesAQueueThatIsReady) {
  ASSERT_TRUE(driver_.Prepare());
  driver_.Write(kQueueSelect, 0);
  driver_.Write(kQueueNum, 2);
  driver_.Write(kQueueDescLow, 0);
  driver_.Write(kStatus, 15);
  EXPECT_EQ(device_.active.queues[0]->size(), 16);
}

TEST_F(Mmio, TakesQueuesOnlyBetweenFeaturesAndDriverOk) {
  driver_.SetQueue(0, arena_.PlaceQueue(16));
  EXPECT_EQ(driver_.Read(kQueueReady), 0U);
  driver_.Write(kStatus, 1);
  driver_.Write(kStatus, 3);
  driver_.SetQueue(0, arena_.PlaceQueue(16));
  EXPECT_EQ(driver_.Read(kQueueReady), 0U);
}

TEST_F(Mmio, NeedsAResetAfterAQueueOutsideMemory) {
  for (auto change : {+[](QueueConfig& c) { c.descriptors = {kMiB}; },
                      +[](QueueConfig& c) { c.used = {~uint64_t{0xf}}; },
                      +[](QueueConfig& c) { c.available.value += 1; },
                      +[](QueueConfig& c) { c.size = 3; }, +[](QueueConfig& c) { c.size = 0; }}) {
    ASSERT_TRUE(driver_.Prepare());
    auto config = arena_.PlaceQueue(4);
    change(config);
    driver_.SetQueue(1, config);
    int interrupts = interrupt_.count();
    driver_.Write(kStatus, 15);
    EXPECT_EQ(driver_.Status(), 15U | 0x40);
    EXPECT_EQ(interrupt_.count(), interrupts + 1);
    EXPECT_EQ(driver_.Read(kInterruptStatus), 2U);
    transport_.OnQueueKick(0);
    EXPECT_EQ(device_.notified, "");
  }
  EXPECT_EQ(device_.activations, 0);
  EXPECT_TRUE(driver_.Start());
  EXPECT_EQ(driver_.Status(), 15U);
}

TEST_F(Mmio, RefusesAQueueLargerThanItsLimit) {
  ASSERT_TRUE(driver_.Prepare());
  for (uint32_t size : {0x10010U, 0xffffffffU, 32U}) {
    driver_.Write(kQueueSelect, 0);
    driver_.Write(kQueueReady, 0);
    driver_.Write(kQueueNum, size);
    driver_.Write(kQueueReady, 1);
  }
  driver_.Write(kStatus, 15);
  EXPECT_EQ(device_.active.queues[0]->size(), 16);
}

TEST_F(Mmio, NeedsAResetWhenTheDeviceRefuses) {
  device_.refuse = true;
  ASSERT_TRUE(driver_.Start());
  EXPECT_TRUE(driver_.NeedsReset());
  EXPECT_EQ(device_.resets, 1);
  driver_.Reset();
  EXPECT_EQ(device_.resets, 1);  // It is idle already.
}

TEST_F(Mmio, DrainsTheDeviceWhenItGoes) {
  {
    MmioTransport transport(device_, arena_.memory(), interrupt_, thread_);
    ASSERT_TRUE(TestDriver(arena_, transport).Start());
  }
  EXPECT_EQ(device_.resets, 1);
}

TEST_F(Mmio, ResetBringsBackTheBeginning) {
  ASSERT_TRUE(driver_.Start());
  device_.active.signal->NeedsReset();
  driver_.Reset();
  EXPECT_EQ(device_.resets, 1);
  EXPECT_EQ(driver_.Status(), 0U);
  EXPECT_EQ(driver_.Read(kInterruptStatus), 0U);
  driver_.Write(kQueueSelect, 0);
  EXPECT_EQ(driver_.Read(kQueueReady), 0U);
  transport_.OnQueueKick(0);
  EXPECT_EQ(device_.notified, "");
}

TEST_F(Mmio, CountsAMistakeOnce) {
  ASSERT_TRUE(driver_.Start());
  auto generation = driver_.Read(kConfigGeneration);
  for (int i = 0; i < 5; i++) device_.active.signal->NeedsReset();
  EXPECT_EQ(transport_.metrics().needs_reset.load(), 1U);
  EXPECT_EQ(interrupt_.count(), 1);
  EXPECT_EQ(driver_.Read(kConfigGeneration), generation + 1);
  transport_.OnQueueKick(0);
  EXPECT_EQ(device_.notified, "");
}

TEST_F(Mmio, TellsWhyItInterrupts) {
  ASSERT_TRUE(driver_.Start());
  device_.active.signal->UsedBuffers();
  device_.active.signal->ConfigChanged();
  EXPECT_EQ(driver_.Read(kInterruptStatus), 3U);
  driver_.Write(kInterruptAck, 1);
  EXPECT_EQ(driver_.Read(kInterruptStatus), 2U);
  driver_.Write(kInterruptAck, 0xffffffff);
  EXPECT_EQ(driver_.Read(kInterruptStatus), 0U);
  EXPECT_EQ(interrupt_.count(), 2);
}

TEST_F(Mmio, NotifiesByARegisterToo) {
  driver_.Write(kQueueNotify, 0);
  ASSERT_TRUE(driver_.Start());
  for (uint32_t queue : {1U, 0U, 2U, 0xffffffffU}) driver_.Write(kQueueNotify, queue);
  EXPECT_EQ(device_.notified, "10");
}

TEST_F(Mmio, ReadsTheConfigurationInEveryWidth) {
  auto read = [&](uint32_t offset, size_t bytes) {
    uint64_t value = ~uint64_t{0};
    transport_.Read(offset, std::as_writable_bytes(std::span(&value, 1)).first(bytes));
    return bytes == 8 ? value : value & ((uint64_t{1} << 8 * bytes) - 1);
  };
  EXPECT_EQ(read(kConfig, 1), 0x01U);
  EXPECT_EQ(read(kConfig + 1, 2), 0x0302U);
  EXPECT_EQ(read(kConfig + 4, 4), 0x08070605U);
  EXPECT_EQ(read(kConfig, 8), 0x0807060504030201U);
  EXPECT_EQ(read(kConfig + 8, 8), 0x0a09U);  // Beyond its end: zeros.
  EXPECT_EQ(read(kConfig + 0xf8, 8), 0U);
  EXPECT_EQ(read(kConfig + 0xfc, 8), 0U);  // Beyond the window.
}

TEST_F(Mmio, SurvivesEveryWidthAtEveryOffset) {
  for (int round = 0; round < 3; round++) {
    for (uint32_t offset = 0; offset < kMmioBytes + 16; offset++) {
      for (size_t width = 0; width <= 16; width++) {
        std::array<std::byte, 16> bytes;
        bytes.fill(std::byte{0xff});
        transport_.Read(offset, std::span(bytes).first(width));
        bool register_read = width == 4 && offset % 4 == 0 && offset < kConfig;
        bool config_read = offset >= kConfig && width <= 8 && offset + width <= kMmioBytes;
        for (size_t i = 0; i < width && !register_read && !config_read; i++)
          ASSERT_EQ(bytes[i], std::byte{0}) << offset << " " << width;
        bytes.fill(std::byte(round));
        transport_.Write(offset, std::span(bytes).first(width));
      }
    }
  }
  EXPECT_GT(transport_.metrics().bad_accesses.load(), 1000U);
  EXPECT_TRUE(driver_.Start());
}

TEST_F(Mmio, GoesOnFromItsSavedState) {
  ASSERT_TRUE(driver_.Start());
  auto at = arena_.Allocate(8);
  ASSERT_TRUE(driver_.queue(0).Add({{at, 8}}));
  device_.active.queues[0]->Push(device_.active.queues[0]->Pop()->head, 0);
  device_.active.signal->UsedBuffers();
  auto parsed = ParseTransport(SerializeTransport(transport_.Save()));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(*parsed, transport_.Save());

  RecordingDevice device;
  CountingInterrupt interrupt;
  MmioTransport restored(device, arena_.memory(), interrupt, thread_);
  ASSERT_TRUE(restored.Restore(*parsed).ok());
  EXPECT_EQ(restored.Save(), *parsed);
  EXPECT_EQ(device.activations, 1);
  EXPECT_EQ(device.notified, "01");  // Kicks may have been on their way.
  EXPECT_EQ(interrupt.count(), 1);
  ASSERT_TRUE(driver_.queue(0).Add({{at, 4}}));
  auto chain = device.active.queues[0]->Pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->readable_bytes, 4U);
}

TEST_F(Mmio, RefusesASavedStateThatIsNotItsOwn) {
  ASSERT_TRUE(driver_.Start());
  const TransportState good = transport_.Save();
  RecordingDevice device;
  MmioTransport fresh(device, arena_.memory(), interrupt_, thread_);
  auto refuses = [&](auto change) {
    TransportState state = good;
    change(state);
    return !fresh.Restore(state).ok();
  };
  EXPECT_TRUE(refuses([](auto& s) { s.device_id = 1; }));
  EXPECT_TRUE(refuses([](auto& s) { s.queues.pop_back(); }));
  EXPECT_TRUE(refuses([](auto& s) { s.status = 4; }));
  EXPECT_TRUE(refuses([](auto& s) { s.driver_features |= 2; }));
  EXPECT_TRUE(refuses([](auto& s) { s.queues[0].config.size = 32; }));
  EXPECT_TRUE(refuses([](auto& s) { s.queues[1].config.used = {kMiB}; }));
  EXPECT_EQ(device.activations, 0);
  EXPECT_FALSE(refuses([](auto&) {}));
}

TEST(TransportStateBytes, RefusesEveryTruncationAndAnyTail) {
  TransportState state{.device_id = 3, .status = 15, .queues = {SavedQueue{.ready = true}}};
  auto bytes = SerializeTransport(state);
  for (size_t size = 0; size < bytes.size(); size++)
    EXPECT_FALSE(ParseTransport(std::span(bytes).first(size)).ok()) << size;
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(ParseTransport(bytes).ok());
}

}  // namespace
}  // namespace msb::vmm
