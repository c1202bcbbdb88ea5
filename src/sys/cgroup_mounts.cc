// SPDX-License-Identifier: Apache-2.0
// proc(5), /proc/pid/mountinfo: "36 35 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
// cgroups(7), /proc/pid/cgroup: "4:memory:/a", and "0::/a" for version 2.

#include "sys/cgroup_mounts.h"

#include <algorithm>

#include "base/text.h"

namespace msb::sys {
namespace {

// Options of version 1 that are not controllers; "name=systemd" and the like have a '='.
bool IsController(std::string_view option) {
  constexpr std::string_view kKnown[] = {"memory", "cpu", "cpuacct", "pids", kDisksV1};
  for (std::string_view known : kKnown)
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

std::string CgroupPathIn(const CgroupHost::Hierarchy& hierarchy, std::string_view proc_cgroup) {
  for (const std::string& line : Split(proc_cgroup, '\n')) {
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool here = false;
    if (hierarchy.v2) {
      here = controllers.empty();
    } else {
      for (const std::string& name : Split(controllers, ','))
        here = here || HasController(hierarchy, name);
    }
    if (here) return line.substr(second + 1);
  }
  return "";
}

bool HasController(const CgroupHost::Hierarchy& hierarchy, std::string_view controller) {
  return std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) !=
         hierarchy.controllers.end();
}

}  // namespace msb::sys
