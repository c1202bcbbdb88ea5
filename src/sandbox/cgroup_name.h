// SPDX-License-Identifier: Apache-2.0
// The names of our cgroups: a host has one tree of them for all homes, so a name says whose it is;
// and removing what a sandbox has left of one.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

// "<id>.<key of the home>".
std::string CgroupName(BorrowedFd home, std::string_view id);
// The id in a name of this home's; nullopt: another home's.
std::optional<std::string> IdOfCgroup(BorrowedFd home, std::string_view cgroup);

// Ends and removes the cgroup of the dead sandbox `id`, beneath the delegated one that its record
// names (`given`; empty: where we make them by ourselves). False when there was none. A record may
// name anything: nothing but a cgroup with this sandbox's name is touched.
Result<bool> RemoveCgroupOf(BorrowedFd home, std::string_view given, std::string_view id);

}  // namespace msb::sandbox
