// SPDX-License-Identifier: Apache-2.0
// What is mounted in our mount namespace, as proc(5) tells it in /proc/self/mountinfo.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace msb::box {

struct MountEntry {
  std::string place;  // Absolute.
  std::string type;   // "ext4"
};

// In the kernel's order, a mount before those below it. Lines that are not understood are left out.
std::vector<MountEntry> ParseMountInfo(std::string_view text);

// Where something is mounted below `directory`, an absolute path without links.
std::vector<std::string> MountsBelow(const std::vector<MountEntry>& table,
                                     std::string_view directory);

// The places below "/" at which mounts of the host are to be seen in a sandbox that has its tree:
// all but those that every sandbox has of its own (/proc, /sys, /dev) and those covered by a later
// mount on the same place.
std::vector<std::string> HostMounts(const std::vector<MountEntry>& table);

}  // namespace msb::box
