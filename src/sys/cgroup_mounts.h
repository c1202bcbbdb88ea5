// SPDX-License-Identifier: Apache-2.0
// Which cgroup file systems are mounted where: a reader of /proc/self/mountinfo.

#pragma once

#include <string_view>
#include <vector>

#include "sys/cgroup.h"

namespace msb::sys {

// Each hierarchy once, at its first mount. The controllers of version 2 are not in mountinfo.
std::vector<CgroupHost::Hierarchy> CgroupHierarchies(std::string_view mountinfo);

}  // namespace msb::sys
