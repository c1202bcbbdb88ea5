// SPDX-License-Identifier: Apache-2.0
// Which disk a file lies on, as the controllers of input and output name disks.

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace msb::sys {

struct DeviceNumber {
  uint32_t major = 0;
  uint32_t minor = 0;
  std::string Text() const;  // "8:0"
  friend auto operator<=>(const DeviceNumber&, const DeviceNumber&) = default;
};

// The whole disk, not the partition (Documentation/admin-guide/cgroup-v2.rst, io.max; sysfs names
// it). Nothing for a file in memory. kUnimplemented for one whose file system has no one disk that
// could be named: overlay, btrfs, a network's.
Result<std::optional<DeviceNumber>> DiskOf(const std::string& path);

}  // namespace msb::sys
