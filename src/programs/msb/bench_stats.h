// SPDX-License-Identifier: Apache-2.0
// Minimum, median and 95th percentile of measured times.

#pragma once

#include <cstdint>
#include <vector>

namespace msb::cli {

struct Stats {
  int64_t min = 0;
  int64_t median = 0;
  int64_t p95 = 0;  // The smallest value that at least 95 of 100 do not exceed.
};
// `values` is not empty.
Stats StatsOf(std::vector<int64_t> values);

}  // namespace msb::cli
