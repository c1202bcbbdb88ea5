// SPDX-License-Identifier: Apache-2.0
// What holds a sandbox at this moment: what the kernel says of its processes, beside what its start
// has set up. A promise is never repeated as a fact: what does not hold differs, and what cannot be
// seen is unknown, with the reason.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jail/process_walls.h"
#include "sandbox/sandboxes.h"

namespace msb::sandbox {

// kProgram: what the agent of a process sandbox has started; in a machine nobody outside sees
// those.
enum class Part : uint8_t { kSupervisor, kJailInit, kMachine, kProgram, kOther };
std::string_view Name(Part part);

enum class Verdict : uint8_t { kHolds, kDiffers, kUnknown };

// One wall or limit that was promised.
struct Finding {
  std::string wall;  // As the record names it: "pid namespace", "memory: cgroup".
  Verdict verdict = Verdict::kUnknown;
  std::string says;  // What was seen, or why nothing was.
};

struct ProcessInForce {
  Part part;
  jail::ProcessWalls walls;
  // The seccomp table of each thread's class, by its place in walls.threads; empty: not known.
  std::vector<std::string_view> policies;
  std::vector<Finding> findings;
};

struct CgroupInForce {
  std::string path;
  Result<bool> holds_machine;
  std::map<std::string, std::string> limits;  // Files that are there: "memory.max" -> "268435456".
};

struct InForce {
  std::vector<ProcessInForce> processes;
  std::vector<CgroupInForce> cgroups;
  std::vector<Finding> limits;
  std::vector<std::string> problems;  // "no machine runs beneath the supervisor".
};

// Of a sandbox that runs. Its supervisor is who answers on its control socket, by the kernel's
// word; pids in records are not believed.
Result<InForce> ReadInForce(const Home& home, const RecordInfo& record);

// The comparison alone. `others`: the namespaces that a wall keeps a process out of, the reader's
// and the supervisor's.
struct Expected {
  Part part = Part::kMachine;
  Isolation isolation = Isolation::kVm;
  std::vector<std::string> walls;
  uint32_t uid = 0;
  uint32_t cpus = 1;
};
std::vector<Finding> CompareWalls(const Expected& expected, const jail::ProcessWalls& walls,
                                  const std::vector<const jail::Namespaces*>& others);
std::vector<Finding> CompareLimits(const std::vector<std::string>& promised,
                                   const jail::ProcessWalls& machine,
                                   const std::vector<CgroupInForce>& cgroups);
// "vmm processor" for a thread of msb-vmm that is named "vcpu0"; empty for a name that is none of
// ours. A thread cannot change its name once it is behind its filter.
std::string_view PolicyOfThread(Part part, Isolation isolation, const jail::ProcessWalls& walls,
                                const jail::ThreadWalls& thread);

// For `inspect`: one object.
std::string ToJson(const InForce& in_force);
// The table of that name; CHECKs that there is one.
jail::Policy FindPolicy(std::string_view name);

}  // namespace msb::sandbox
