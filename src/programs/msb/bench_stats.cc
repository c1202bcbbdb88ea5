// SPDX-License-Identifier: Apache-2.0
// Order statistics.

#include "programs/msb/bench_stats.h"

#include <algorithm>

#include "base/check.h"

namespace msb::cli {

Stats StatsOf(std::vector<int64_t> values) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  int64_t median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {values[0], median, values[(n * 95 + 99) / 100 - 1]};
}

}  // namespace msb::cli
