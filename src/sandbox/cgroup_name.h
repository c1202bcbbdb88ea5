// SPDX-License-Identifier: Apache-2.0
// The names of our cgroups, and removing what a sandbox has left of one. A host has one tree of
// them for all homes, so a name says whose it is; a scope is named for the sandbox alone, because
// it goes by itself.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

// "<id>.<key of the home>".
std::string CgroupName(BorrowedFd home, std::string_view id);
// "msb-<id>.scope", and the machine's cgroup in it.
std::string ScopeName(std::string_view id);
inline constexpr std::string_view kMachineOfScope = "machine";

// The id in a name of this home's; nullopt: another home's.
std::optional<std::string> IdOfCgroup(BorrowedFd home, std::string_view cgroup);

// What the record of a sandbox says of its cgroup.
struct RecordedCgroup {
  std::string given;                // The delegated one that it was given; empty: none.
  std::vector<std::string> places;  // Where it was made.
};

// Whether it is in the tree that CgroupHost::Find("") knows: not beneath a given one, not in a
// scope.
bool IsListed(const RecordedCgroup& recorded, std::string_view id);

// Ends and removes the cgroup of the dead sandbox `id`. False when there was none. A record may
// name anything: nothing but a cgroup with this sandbox's name is touched.
Result<bool> RemoveCgroupOf(BorrowedFd home, const RecordedCgroup& recorded, std::string_view id);

}  // namespace msb::sandbox
