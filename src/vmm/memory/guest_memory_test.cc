// SPDX-License-Identifier: Apache-2.0

#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

namespace msb::vmm {
namespace {

__extension__ using Wide = unsigned __int128;
constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

GuestMemory Make(uint64_t bytes) {
  auto memory = GuestMemory::Create(bytes);
  EXPECT_TRUE(memory.ok());
  return std::move(*memory);
}

TEST(GuestMemory, IsOneRegionUpToTheGap) {
  auto memory = Make(64 * kMiB);
  ASSERT_EQ(memory.regions().size(), 1U);
  EXPECT_EQ(memory.regions()[0].start.value, 0U);
  EXPECT_EQ(memory.regions()[0].size, 64 * kMiB);
  EXPECT_EQ(Make(3 * kGiB).regions().size(), 1U);
}

TEST(GuestMemory, ContinuesBehindTheGap) {
  auto memory = Make(3 * kGiB + kPageBytes);
  ASSERT_EQ(memory.regions().size(), 2U);
  EXPECT_EQ(memory.regions()[1].start, kGapEnd);
  EXPECT_EQ(memory.regions()[1].size, kPageBytes);
  EXPECT_EQ(memory.bytes(), 3 * kGiB + kPageBytes);
  EXPECT_TRUE(memory.Slice(kGapEnd, kPageBytes).ok());
  EXPECT_FALSE(memory.Slice(kGapEnd, kPageBytes + 1).ok());
}

TEST(GuestMemory, HasNothingInTheGapAndNothingAcrossIt) {
  auto memory = Make(5 * kGiB);
  EXPECT_TRUE(memory.Slice({kGapStart.value - 8}, 8).ok());
  EXPECT_FALSE(memory.Slice({kGapStart.value - 8}, 9).ok());
  EXPECT_FALSE(memory.Slice({kGapStart.value + 8}, 8).ok());
  EXPECT_FALSE(memory.Slice({kGapEnd.value - 1}, 2).ok());
  EXPECT_FALSE(memory.Slice({kGapStart.value - 8}, kGiB + 16).ok());
}

TEST(GuestMemory, AlignsRegionsToHugePages) {
  auto memory = Make(3 * kGiB + 2 * kMiB);
  for (const auto& region : memory.regions())
    EXPECT_EQ(reinterpret_cast<uintptr_t>(region.host) % (2 * kMiB), 0U);
}

TEST(GuestMemory, RefusesSizesThatAreNotPages) {
  EXPECT_EQ(GuestMemory::Create(0).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(GuestMemory::Create(kPageBytes + 1).error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(GuestMemory::Create(kMost - kPageBytes + 1).ok());
}

TEST(GuestMemory, SurvivesRangesThatOverflow) {
  auto memory = Make(kMiB);
  EXPECT_FALSE(memory.Slice({kMost}, 1).ok());
  EXPECT_FALSE(memory.Slice({kMost}, kMost).ok());
  EXPECT_FALSE(memory.Slice({1}, kMost).ok());
  EXPECT_FALSE(memory.Slice({kMiB - 1}, 2).ok());
  EXPECT_TRUE(memory.Slice({kMiB}, 0).ok());
  EXPECT_FALSE(memory.Slice({kMiB + 1}, 0).ok());
  EXPECT_FALSE(CheckedAdd(GuestAddress{kMost}, 1).ok());
}

TEST(GuestMemory, KeepsObjects) {
  auto memory = Make(kMiB);
  ASSERT_TRUE(memory.WriteObject({kMiB - 8}, uint64_t{42}).ok());
  auto value = memory.ReadObject<uint64_t>({kMiB - 8});
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 42U);
  EXPECT_FALSE(memory.ReadObject<uint64_t>({kMiB - 7}).ok());
  EXPECT_FALSE(memory.WriteObject({kMiB - 7}, uint64_t{42}).ok());
}

TEST(GuestMemory, DiscardsWholePagesOnly) {
  auto memory = Make(kMiB);
  EXPECT_TRUE(memory.Discard({kPageBytes}, kPageBytes).ok());
  EXPECT_FALSE(memory.Discard({1}, kPageBytes).ok());
  EXPECT_FALSE(memory.Discard({0}, 1).ok());
  EXPECT_FALSE(memory.Discard({kMiB - kPageBytes}, 2 * kPageBytes).ok());
  std::byte elsewhere[1];
  EXPECT_FALSE(memory.Discard(std::span(elsewhere)).ok());
}

TEST(GuestMemory, MovesWithItsMapping) {
  auto first = Make(kMiB);
  ASSERT_TRUE(first.WriteObject({0}, 7).ok());
  GuestMemory second = std::move(first);
  EXPECT_EQ(*second.ReadObject<int>({0}), 7);
}

TEST(GuestMemory, SlicesAsANaiveModelDoes) {
  auto memory = Make(3 * kGiB + 16 * kPageBytes);
  bool agrees = rc::check([&] {
    auto near = *rc::gen::element<uint64_t>(0, kGapStart.value, kGapEnd.value,
                                            kGapEnd.value + 16 * kPageBytes, kMost / 2, kMost);
    uint64_t start = near + static_cast<uint64_t>(*rc::gen::inRange<int64_t>(-9000, 9000));
    auto size = *rc::gen::element<uint64_t>(0, 1, kPageBytes, kGiB, 3 * kGiB, kMost) +
                *rc::gen::inRange<uint64_t>(0, 3);
    // In 128 bits nothing wraps.
    auto end = Wide{start} + size;
    auto inside = [&](uint64_t low, uint64_t high) { return start >= low && end <= high; };
    bool expected =
        inside(0, kGapStart.value) || inside(kGapEnd.value, kGapEnd.value + 16 * kPageBytes);
    auto slice = memory.Slice({start}, size);
    RC_ASSERT(slice.ok() == expected);
    if (slice.ok()) RC_ASSERT(slice->size() == size);
  });
  EXPECT_TRUE(agrees);
}

}  // namespace
}  // namespace msb::vmm
