// SPDX-License-Identifier: Apache-2.0
// The processes of one exec as a group: what they used, whether memory ran out, killing them all.
// In a machine that is a cgroup of their own; in a process sandbox it is their session; in tests
// the process group.

#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::agent {

struct GroupUsage {
  uint64_t cpu_user_ns = 0;
  uint64_t cpu_system_ns = 0;
  uint64_t peak_memory_bytes = 0;
  uint64_t oom_kills = 0;
};

class ExecGroup {
 public:
  virtual ~ExecGroup() = default;
  // For CLONE_INTO_CGROUP; -1: none.
  virtual int clone_fd() const = 0;
  // SIGKILL to every member. `pid` is the main process, 0 when it has been reaped.
  virtual void Kill(pid_t pid) = 0;
  // `reaped` is what wait4() said of the main process.
  virtual GroupUsage Usage(const struct rusage& reaped) const = 0;
};

class ExecGroups {
 public:
  virtual ~ExecGroups() = default;
  virtual Result<std::unique_ptr<ExecGroup>> Take() = 0;
  // The exec is forgotten; its descendants may live on.
  virtual void GiveBack(std::unique_ptr<ExecGroup> group) = 0;
  // Work kept off the way of an exec: called when nothing waits for the agent.
  virtual void Tidy() = 0;
  // Descendants have ended since: takes away the groups that only they had kept.
  virtual void Sweep() = 0;
  // SIGKILL to every process of every exec.
  virtual void KillAll() = 0;
};

// Process groups only: a descendant that made its own session escapes Kill. KillAll does nothing.
std::unique_ptr<ExecGroups> MakeProcessGroups();

// For a sandbox that shares the host's kernel, where no cgroup can be made inside. An exec is the
// session that its main process leads, and whatever descends from that process; a daemon, which has
// left both, escapes Kill and ends with the sandbox. Every process but ours is in one of them.
// `memory_events`: the `oom_kill` count of the sandbox's own cgroup (memory.events,
// memory.oom_control), open for reading; without it nothing is ever said to have run out of memory.
std::unique_ptr<ExecGroups> MakeSessionGroups(UniqueFd memory_events);

// Cgroups `e<number>` beneath `sandbox`, a version 2 cgroup directory of ours with the memory, pids
// and cpu controllers enabled for its children. One is made ahead, off the way of an exec.
std::unique_ptr<ExecGroups> MakeCgroups(UniqueFd sandbox);

}  // namespace msb::agent
