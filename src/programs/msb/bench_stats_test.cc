// SPDX-License-Identifier: Apache-2.0
// Order statistics of a few known samples.

#include "programs/msb/bench_stats.h"

#include <gtest/gtest.h>

namespace msb::cli {
namespace {

TEST(StatsOf, OneValueIsAllThree) {
  Stats stats = StatsOf({7});
  EXPECT_EQ(stats.min, 7);
  EXPECT_EQ(stats.median, 7);
  EXPECT_EQ(stats.p95, 7);
}

TEST(StatsOf, SortsAndTakesTheMiddle) {
  Stats stats = StatsOf({9, 1, 5});
  EXPECT_EQ(stats.min, 1);
  EXPECT_EQ(stats.median, 5);
  EXPECT_EQ(stats.p95, 9);
  EXPECT_EQ(StatsOf({4, 1, 3, 2}).median, 2);  // (2 + 3) / 2 in whole numbers.
}

TEST(StatsOf, LeavesOneInTwentyAboveTheP95) {
  std::vector<int64_t> values;
  for (int64_t i = 1; i <= 20; i++) values.push_back(i);
  EXPECT_EQ(StatsOf(values).p95, 19);
  values.push_back(21);
  EXPECT_EQ(StatsOf(values).p95, 20);
}

}  // namespace
}  // namespace msb::cli
