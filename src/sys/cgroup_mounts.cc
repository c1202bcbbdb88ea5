// SPDX-License-Identifier: Apache-2.0
// proc(5), /proc/pid/mountinfo: "36 35 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu".

#include "sys/cgroup_mounts.h"

#include <algorithm>

#include "base/text.h"

namespace msb::sys {
namespace {

// Options of version 1 that are not controllers; "name=systemd" and the like have a '='.
bool IsController(std::string_view option) {
  for (std::string_view known : {"memory", "cpu", "cpuacct", "pids"})
    if (option == known) return true;
  return false;
}

}  // namespace

std::vector<CgroupHost::Hierarchy> CgroupHierarchies(std::string_view mountinfo) {
  std::vector<CgroupHost::Hierarchy> found;
  for (const std::string& line : Split(mountinfo, '\n')) {
    auto fields = Split(line, ' ');
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 4) continue;
    CgroupHost::Hierarchy hierarchy{fields[4], {}, dash[1] == "cgroup2"};
    if (!hierarchy.v2 && dash[1] != "cgroup") continue;
    // Octal escapes stand for spaces; nobody mounts cgroups there.
    if (hierarchy.root.find('\\') != std::string::npos) continue;
    if (!hierarchy.v2) {
      for (const std::string& option : Split(dash[3], ','))
        if (IsController(option)) hierarchy.controllers.push_back(option);
      if (hierarchy.controllers.empty()) continue;
    }
    bool known = std::any_of(found.begin(), found.end(), [&](const auto& other) {
      return other.v2 == hierarchy.v2 && other.controllers == hierarchy.controllers;
    });
    if (!known) found.push_back(std::move(hierarchy));
  }
  return found;
}

}  // namespace msb::sys
