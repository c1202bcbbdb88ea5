// SPDX-License-Identifier: Apache-2.0
// Fuzzes the readers of subuid(5) and passwd(5): any bytes; whatever comes back can be mapped.

#include <cstdlib>

#include "jail/subordinate_ids.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto ranges = msb::jail::ParseSubordinateIds(text, "alice", 1000);
  if (ranges.size() > msb::jail::kMostSubordinateRanges) std::abort();
  for (const auto& range : ranges)
    if (range.first == 0 || range.count == 0 || uint64_t{range.first} + range.count > UINT32_MAX)
      std::abort();
  std::string name = msb::jail::NameOfUser(text, 1000);
  if (name.find_first_of(":\n") != std::string::npos) std::abort();
  return 0;
}
