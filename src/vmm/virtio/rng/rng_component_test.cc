// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "vmm/virtio/rng/device.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

class Rng : public testing::Test {
 protected:
  Rng() : loop_(std::move(*event::Loop::Create())) { EXPECT_TRUE(driver_.Start()); }

  GuestArena arena_{64 * kMiB};
  CountingInterrupt interrupt_;
  InlineThread thread_;
  std::unique_ptr<event::Loop> loop_;
  RngDevice device_{*loop_};
  MmioTransport transport_{device_, arena_.memory(), interrupt_, thread_};
  TestDriver driver_{arena_, transport_};
};

TEST_F(Rng, FillsBuffersWithBytesThatDiffer) {
  auto first = arena_.Allocate(64);
  auto second = arena_.Allocate(64);
  ASSERT_TRUE(driver_.queue(0).Add({{first, 64, true}}));
  ASSERT_TRUE(driver_.queue(0).Add({{second, 32, true}, {second + 32, 32, true}}));
  driver_.Kick(0);
  EXPECT_EQ(driver_.queue(0).Take()->written, 64U);
  EXPECT_EQ(driver_.queue(0).Take()->written, 64U);
  EXPECT_NE(arena_.Text(first, 64), arena_.Text(second, 64));
  EXPECT_NE(arena_.Text(second + 32, 32), std::string(32, '\0'));
  EXPECT_GE(interrupt_.count(), 1);
}

TEST_F(Rng, GivesLittleToWhoAsksForMuch) {
  ASSERT_TRUE(driver_.queue(0).Add({{{32 * kMiB}, 16 * kMiB, true}, {{48 * kMiB}, 100, true}}));
  driver_.Kick(0);
  EXPECT_EQ(driver_.queue(0).Take()->written, 4096U);
  EXPECT_EQ(device_.metrics().bytes.load(), 4096U);
  EXPECT_EQ(arena_.Text({48 * kMiB}, 100), std::string(100, '\0'));
}

TEST_F(Rng, GivesABufferToReadBack) {
  ASSERT_TRUE(driver_.queue(0).Add({{arena_.Allocate(8), 8}}));
  driver_.Kick(0);
  EXPECT_EQ(driver_.queue(0).Take()->written, 0U);
  EXPECT_FALSE(driver_.NeedsReset());
}

TEST_F(Rng, NeedsAResetAfterABadChainAndWorksAfterIt) {
  driver_.queue(0).Announce(1000);
  driver_.Kick(0);
  EXPECT_TRUE(driver_.NeedsReset());
  ASSERT_TRUE(driver_.Start());
  ASSERT_TRUE(driver_.queue(0).Add({{arena_.Allocate(8), 8, true}}));
  driver_.Kick(0);
  EXPECT_EQ(driver_.queue(0).Take()->written, 8U);
}

}  // namespace
}  // namespace msb::vmm
