// SPDX-License-Identifier: Apache-2.0
// The names of our cgroups: a host has one tree of them for all homes, so a name says whose it is.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace msb::sandbox {

// "<id>.<key of the home>".
std::string CgroupName(BorrowedFd home, std::string_view id);
// The id in a name of this home's; nullopt: another home's.
std::optional<std::string> IdOfCgroup(BorrowedFd home, std::string_view cgroup);

}  // namespace msb::sandbox
