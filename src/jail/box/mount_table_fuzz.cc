// SPDX-License-Identifier: Apache-2.0
// Fuzzes the reader of mountinfo, whose places users choose.

#include <cstdint>

#include "base/check.h"
#include "jail/box/mount_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string& place : msb::box::HostMounts(msb::box::ParseMountInfo(text)))
    CHECK(place.starts_with('/') && place != "/" && !place.starts_with("/proc/"));
  return 0;
}
