// SPDX-License-Identifier: Apache-2.0
// Fuzzes the readers of subuid(5) and passwd(5): any bytes; whatever comes back can be mapped, and
// no id comes back twice.

#include <cstdlib>

#include "jail/subordinate_ids.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto ranges = msb::jail::ParseSubordinateIds(text, "alice", 1000);
  if (ranges.size() > msb::jail::kMostSubordinateRanges) std::abort();
  for (const auto& range : ranges)
    if (range.first == 0 || range.count == 0 || uint64_t{range.first} + range.count > UINT32_MAX)
      std::abort();
  for (size_t i = 0; i < ranges.size(); i++)
    for (size_t k = 0; k < i; k++)
      if (ranges[i].first < uint64_t{ranges[k].first} + ranges[k].count &&
          ranges[k].first < uint64_t{ranges[i].first} + ranges[i].count)
        std::abort();
  auto user = msb::jail::FindPasswdUser(text, 1000);
  if (user &&
      (user->name.empty() || (user->name + user->home).find_first_of(":\n") != std::string::npos))
    std::abort();
  return 0;
}
