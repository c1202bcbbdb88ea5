// SPDX-License-Identifier: Apache-2.0
// Works out, before the clone, everything that the init and the command will need.

#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/box/plan.h"
#include "jail/box/spec.h"
#include "jail/start_init.h"

namespace msb::box {

// Owns what its plan points at: not to be moved once prepared.
struct Prepared {
  Prepared() = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  std::vector<PlannedBind> binds;
  std::vector<PlannedMemory> memories;
  std::vector<PlannedFile> files;
  std::vector<PlannedLink> links;
  std::vector<jail::PlannedFd> fds;
  std::vector<std::string> targets, memory_targets, memory_sizes, candidates;
  std::vector<const char*> candidate_pointers;
  std::vector<char*> argv, environment;
  std::string time_offsets, terminal_group, size, hosts, hostname_file, resolv, passwd, group,
      loader_directory, loader_target;
  std::vector<std::string> sources;     // Of binds that nobody asked for: the host's own mounts.
  jail::CgroupDoors doors, late_doors;  // Those of Spec::cgroup, and of Spec::make_cgroup.
  std::vector<UniqueFd> trees;  // To be sent: the root's first, where there is one, then binds'.
  Plan plan{};
};

// Checks what only the host can tell (binds, kept descriptors) and fills the plan with all of the
// spec. What the ids decide, the trees and the descriptors between parent and init are the
// caller's.
Result<void> Prepare(const Spec& spec, Prepared& prepared);

}  // namespace msb::box
