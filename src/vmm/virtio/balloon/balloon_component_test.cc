// SPDX-License-Identifier: Apache-2.0
// Pages that a driver gives up leave our memory.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "vmm/virtio/balloon/device.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kMemory = 64 * kMiB;
enum QueueIndex : size_t { kInflate, kDeflate, kReport };

class Balloon : public testing::Test {
 protected:
  Balloon() : loop_(std::move(*event::Loop::Create())) {
    auto all = *arena_.memory().Slice({0}, kMemory);
    std::fill(all.begin(), all.end(), std::byte{0x5a});
    EXPECT_TRUE(driver_.Start());
  }

  size_t ResidentPages(GuestAddress address, uint64_t bytes) {
    auto slice = *arena_.memory().Slice(address, bytes);
    std::vector<unsigned char> resident(bytes / kPageBytes);
    EXPECT_EQ(::mincore(slice.data(), slice.size(), resident.data()), 0);
    return static_cast<size_t>(
        std::count_if(resident.begin(), resident.end(), [](auto page) { return (page & 1) != 0; }));
  }

  // False when the device did not give the buffer back.
  bool SendPages(QueueIndex queue, const std::vector<uint32_t>& pages) {
    auto bytes = std::as_bytes(std::span(pages));
    auto at = arena_.Place(AsText(bytes));
    EXPECT_TRUE(driver_.queue(queue).Add({{at, static_cast<uint32_t>(bytes.size())}}));
    driver_.Kick(queue);
    return driver_.queue(queue).Take().has_value();
  }

  GuestArena arena_{kMemory};
  CountingInterrupt interrupt_;
  InlineThread thread_;
  std::unique_ptr<event::Loop> loop_;
  BalloonDevice device_{*loop_};
  MmioTransport transport_{device_, arena_.memory(), interrupt_, thread_};
  TestDriver driver_{arena_, transport_};
};

TEST_F(Balloon, ReturnsInflatedPagesToTheHost) {
  // Upwards, downwards, alone, twice.
  EXPECT_TRUE(SendPages(kInflate, {8192, 8193, 8194, 8300, 8299, 8298, 8500, 8500}));
  EXPECT_EQ(ResidentPages({8192 * kPageBytes}, 512 * kPageBytes), 512U - 7);
  EXPECT_EQ(ResidentPages({8192 * kPageBytes}, 3 * kPageBytes), 0U);
  EXPECT_EQ(ResidentPages({8298 * kPageBytes}, 3 * kPageBytes), 0U);
  EXPECT_EQ(device_.metrics().inflated_pages.load(), 8U);
  EXPECT_TRUE(SendPages(kDeflate, {8192, 8193}));
  EXPECT_EQ(device_.metrics().deflated_pages.load(), 2U);
  ASSERT_TRUE(arena_.memory().WriteObject({8192 * kPageBytes}, 1).ok());
  EXPECT_GE(ResidentPages({8192 * kPageBytes}, kPageBytes), 1U);
}

TEST_F(Balloon, ReturnsReportedRangesToTheHost) {
  ASSERT_TRUE(
      driver_.queue(kReport).Add({{{16 * kMiB}, 2 * kMiB, true}, {{32 * kMiB}, 4 * kMiB, true}}));
  driver_.Kick(kReport);
  EXPECT_TRUE(driver_.queue(kReport).Take());
  EXPECT_EQ(ResidentPages({16 * kMiB}, 2 * kMiB), 0U);
  EXPECT_EQ(ResidentPages({32 * kMiB}, 4 * kMiB), 0U);
  EXPECT_EQ(ResidentPages({18 * kMiB}, 14 * kMiB), 14 * kMiB / kPageBytes);
  EXPECT_EQ(device_.metrics().reported_bytes.load(), 6 * kMiB);
}

TEST_F(Balloon, TellsTheGuestItsTarget) {
  int before = interrupt_.count();
  device_.SetTarget(1234);
  EXPECT_EQ(interrupt_.count(), before + 1);
  EXPECT_EQ(driver_.Read(0x060), 2U);
  EXPECT_EQ(driver_.Read(0x100), 1234U);
  driver_.Write(0x104, 1000);
  EXPECT_EQ(device_.actual_pages(), 1000U);
  driver_.Write(0x100, 5);  // The target is not the guest's.
  driver_.Write(0x10c, 5);
  EXPECT_EQ(driver_.Read(0x100), 1234U);
  uint16_t half = 7;
  transport_.Write(0x104, std::as_bytes(std::span(&half, 1)));
  EXPECT_EQ(device_.actual_pages(), 1000U);
}

TEST_F(Balloon, KeepsItsNumbersInASavedState) {
  device_.SetTarget(77);
  driver_.Write(0x104, 55);
  BalloonDevice device(*loop_);
  MmioTransport restored(device, arena_.memory(), interrupt_, thread_);
  auto saved = ParseTransport(SerializeTransport(transport_.Save()));
  ASSERT_TRUE(saved.ok());
  ASSERT_TRUE(restored.Restore(*saved).ok());
  EXPECT_EQ(device.actual_pages(), 55U);
  EXPECT_EQ(restored.Save().device, saved->device);
  saved->device.push_back(std::byte{0});
  EXPECT_FALSE(MmioTransport(device, arena_.memory(), interrupt_, thread_).Restore(*saved).ok());
}

TEST_F(Balloon, NeedsAResetAfterAPageThatIsNotThere) {
  EXPECT_FALSE(SendPages(kInflate, {kMemory / kPageBytes}));
  EXPECT_TRUE(driver_.NeedsReset());
  ASSERT_TRUE(driver_.Start());
  EXPECT_FALSE(SendPages(kInflate, {0xffffffff, 5}));
  EXPECT_TRUE(driver_.NeedsReset());
}

TEST_F(Balloon, NeedsAResetAfterTooManyPagesOrHalfANumber) {
  EXPECT_FALSE(SendPages(kInflate, std::vector<uint32_t>(4097, 8192)));
  EXPECT_TRUE(driver_.NeedsReset());
  ASSERT_TRUE(driver_.Start());
  ASSERT_TRUE(driver_.queue(kInflate).Add({{arena_.Allocate(8), 6}}));
  driver_.Kick(kInflate);
  EXPECT_TRUE(driver_.NeedsReset());
}

TEST_F(Balloon, NeedsAResetAfterAReportOfPartsOfPages) {
  ASSERT_TRUE(driver_.queue(kReport).Add({{{16 * kMiB + 8}, 4096, true}}));
  driver_.Kick(kReport);
  EXPECT_TRUE(driver_.NeedsReset());
  EXPECT_EQ(ResidentPages({16 * kMiB}, 2 * kPageBytes), 2U);
}

TEST_F(Balloon, FreesAFullRangeOfNumbers) {
  std::vector<uint32_t> pages(256);
  for (uint32_t i = 0; i < pages.size(); i++) pages[i] = 8192 + i;
  EXPECT_TRUE(SendPages(kInflate, pages));
  EXPECT_EQ(ResidentPages({8192 * kPageBytes}, 256 * kPageBytes), 0U);
}

TEST_F(Balloon, TakesNoMoreNumbersThanLinuxSends) {
  std::vector<uint32_t> pages(257);
  for (uint32_t i = 0; i < pages.size(); i++) pages[i] = 8192 + 2 * i;
  EXPECT_FALSE(SendPages(kInflate, pages));
  EXPECT_TRUE(driver_.NeedsReset());
}

TEST_F(Balloon, TakesNothingMoreUntilItsReset) {
  // More of the one queue than a round, so that the rest waits for the loop.
  auto at = arena_.Place(std::string(4, '\0'));
  for (int i = 0; i < 6; i++) ASSERT_TRUE(driver_.queue(kDeflate).Add({{at, 4}}));
  driver_.Kick(kDeflate);
  EXPECT_FALSE(SendPages(kInflate, std::vector<uint32_t>(257)));
  auto done = device_.metrics().deflated_pages.load();
  for (int i = 0; i < 5; i++)
    ASSERT_TRUE(loop_->RunOnce(Deadline::After(Clock::duration::zero())).ok());
  EXPECT_EQ(device_.metrics().deflated_pages.load(), done);
}

}  // namespace
}  // namespace msb::vmm
