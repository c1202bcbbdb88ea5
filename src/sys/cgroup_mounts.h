// SPDX-License-Identifier: Apache-2.0
// What cgroup.cc and cgroup_host.cc share: which cgroup file systems are mounted where, and the one
// directory of ours in each.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sys/cgroup.h"

namespace msb::sys {

// Each hierarchy once, at its first mount. The controllers of version 2 are not in mountinfo.
std::vector<CgroupHost::Hierarchy> CgroupHierarchies(std::string_view mountinfo);

// The path that a process has in this hierarchy, by its /proc/PID/cgroup; empty when it is not
// there.
std::string CgroupPathIn(const CgroupHost::Hierarchy& hierarchy, std::string_view proc_cgroup);

bool HasController(const CgroupHost::Hierarchy& hierarchy, std::string_view controller);
Result<void> WriteCgroupFile(BorrowedFd dir, const std::string& name, std::string_view value);

// Where our cgroups are in the hierarchy: `microsandbox` in it, or all of a scope of ours.
std::string OurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy);
Result<UniqueFd> OpenOurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy);
// The same, made when missing and handing its controllers on. `made` is set when it was missing.
Result<UniqueFd> EnsureOurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy,
                                  bool* made);
inline constexpr std::string_view kOurCgroups = "microsandbox";
// The controller of disks.
inline constexpr std::string_view kDisksV1 = "blkio", kDisksV2 = "io";

}  // namespace msb::sys
