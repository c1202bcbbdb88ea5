// SPDX-License-Identifier: Apache-2.0
// Promises beside what was seen: each promised wall has one question to the kernel's answers.

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "jail/box/policy.h"
#include "sandbox/in_force.h"

namespace msb::sandbox {
namespace {

using jail::ProcessWalls;
using jail::TaskStatus;
using jail::ThreadWalls;

constexpr uint64_t kFilterMode = 2;  // SECCOMP_MODE_FILTER
// Version 1 says the largest multiple of a page for "no limit".
constexpr uint64_t kNoLimitFrom = 1ull << 62;
// The jail's, the start's and the thread's own: filters stack.
constexpr uint64_t kFiltersOfVmm = 3;

Finding Holds(std::string_view wall, std::string says) {
  return {std::string(wall), Verdict::kHolds, std::move(says)};
}
Finding Differs(std::string_view wall, std::string says) {
  return {std::string(wall), Verdict::kDiffers, std::move(says)};
}
Finding Unknown(std::string_view wall, std::string says) {
  return {std::string(wall), Verdict::kUnknown, std::move(says)};
}

std::string Named(const ThreadWalls& thread) {
  return Cat("thread ", thread.tid, " (", thread.status.name, ")");
}

// The first thread of which `look` finds something that is not as it should be.
template <class Look>
Finding EachThread(std::string_view wall, const ProcessWalls& walls, std::string all_hold,
                   Look look) {
  for (const ThreadWalls& thread : walls.threads) {
    Finding finding = look(thread.status);
    if (finding.verdict == Verdict::kHolds) continue;
    finding.wall = wall;
    finding.says = Cat(Named(thread), ": ", finding.says);
    return finding;
  }
  return Holds(wall, std::move(all_hold));
}

std::string OnThreads(const ProcessWalls& walls) {
  return walls.threads.size() == 1 ? " on its thread"
                                   : Cat(" on each of ", walls.threads.size(), " threads");
}

bool AllAre(const std::optional<TaskStatus::Ids>& ids, uint32_t id) {
  return ids && std::all_of(ids->begin(), ids->end(), [&](uint32_t one) { return one == id; });
}

// `alone`: with an id that nobody else has, and so with no groups either.
Finding CompareIds(std::string_view wall, const ProcessWalls& walls, uint32_t uid, bool alone) {
  return EachThread(wall, walls, Cat("uid ", uid, alone ? ", no groups" : "", OnThreads(walls)),
                    [&](const TaskStatus& status) {
                      if (!status.uids || !status.gids || !status.groups)
                        return Unknown(wall, "the kernel does not say its ids");
                      if (!AllAre(status.uids, uid))
                        return Differs(wall, Cat("uid ", (*status.uids)[1], " instead of ", uid));
                      if (!alone) return Holds(wall, "");
                      if (!AllAre(status.gids, uid))
                        return Differs(wall, Cat("gid ", (*status.gids)[1]));
                      if (!status.groups->empty())
                        return Differs(wall, "it has supplementary groups");
                      return Holds(wall, "");
                    });
}

Finding CompareCapabilities(std::string_view wall, const ProcessWalls& walls, bool bounding) {
  return EachThread(wall, walls,
                    Cat(bounding ? "all five sets" : "all sets but the bounding one", " are empty",
                        OnThreads(walls)),
                    [&](const TaskStatus& status) {
                      std::pair<const char*, std::optional<uint64_t>> sets[] = {
                          {"effective", status.effective},
                          {"permitted", status.permitted},
                          {"inheritable", status.inheritable},
                          {"ambient", status.ambient},
                          {"bounding", bounding ? status.bounding : 0}};
                      for (const auto& [name, set] : sets) {
                        if (!set)
                          return Unknown(wall, Cat("the kernel does not say its ", name, " set"));
                        if (*set != 0) return Differs(wall, Cat("its ", name, " set is not empty"));
                      }
                      return Holds(wall, "");
                    });
}

Finding CompareNoNewPrivileges(std::string_view wall, const ProcessWalls& walls) {
  return EachThread(wall, walls, Cat("set", OnThreads(walls)), [&](const TaskStatus& status) {
    if (!status.no_new_privileges) return Unknown(wall, "the kernel does not say");
    return *status.no_new_privileges == 1 ? Holds(wall, "") : Differs(wall, "not set");
  });
}

Finding CompareSeccomp(std::string_view wall, const ProcessWalls& walls, uint64_t least) {
  uint64_t fewest = ~uint64_t{0};
  for (const ThreadWalls& thread : walls.threads)
    fewest = std::min(fewest, thread.status.seccomp_filters.value_or(0));
  return EachThread(
      wall, walls, Cat("mode 2, ", fewest, fewest == 1 ? " filter" : " filters", OnThreads(walls)),
      [&](const TaskStatus& status) {
        if (!status.seccomp_mode) return Unknown(wall, "the kernel does not say");
        if (*status.seccomp_mode != kFilterMode)
          return Differs(wall, Cat("mode ", *status.seccomp_mode, ": no filter"));
        if (!status.seccomp_filters)
          return Unknown(wall, "mode 2, but the kernel does not say how many filters");
        if (*status.seccomp_filters < least)
          return Differs(wall, Cat("mode 2, ", *status.seccomp_filters, " of ", least, " filters"));
        return Holds(wall, "");
      });
}

Finding CompareNamespace(std::string_view wall, std::string_view kind, const ProcessWalls& walls,
                         const std::vector<const jail::Namespaces*>& others) {
  if (!walls.namespaces) return Unknown(wall, walls.namespaces.error().message());
  auto its = walls.namespaces->find(std::string(kind));
  if (its == walls.namespaces->end())
    return Differs(wall, "this kernel has no such namespaces: it shares the host's");
  for (const jail::Namespaces* other : others) {
    auto shared = other->find(its->first);
    if (shared != other->end() && shared->second == its->second)
      return Differs(wall, Cat(its->second, " is the host's"));
  }
  if (others.empty()) return Unknown(wall, "the host's own cannot be read");
  return Holds(wall, its->second);
}

Finding CompareRoot(std::string_view wall, const ProcessWalls& walls) {
  if (!walls.mounts) return Unknown(wall, walls.mounts.error().message());
  if (walls.mounts->empty()) return Differs(wall, "it sees no mounts at all");
  for (const jail::ProcessMount& mount : *walls.mounts) {
    if (!mount.read_only) return Differs(wall, Cat(mount.at, " can be written"));
    if (!mount.no_setuid || !mount.no_devices)
      return Differs(wall, Cat(mount.at, " is not nosuid and nodev"));
    if (mount.type == "proc" || mount.type == "sysfs" || mount.type == "devtmpfs")
      return Differs(wall, Cat(mount.at, " is a ", mount.type));
  }
  std::string names = walls.root ? Cat("; / has ", Join(*walls.root, " "))
                                 : Cat("; / unknown: ", walls.root.error().message());
  return Holds(wall, Cat(walls.mounts->size(), walls.mounts->size() == 1 ? " mount" : " mounts",
                         ", read-only", names));
}

Finding CompareDescriptors(std::string_view wall, const ProcessWalls& walls) {
  if (!walls.descriptors) return Unknown(wall, walls.descriptors.error().message());
  size_t count = 0;
  for (const auto& [target, times] : *walls.descriptors) {
    count += times;
    // What it may have are files, sockets and the kernel's objects: nothing to look further from.
    if (target == "/dev/kvm" || target == "/" || target == "/proc")
      return Differs(wall, Cat(target, " is open"));
  }
  return Unknown(wall, Cat(count, " are open; whose they are, the kernel does not say"));
}

// "vmm devices" once, "vmm worker" once, "vmm processor" for each of the guest's.
Finding CompareThreads(const Expected& expected, const ProcessWalls& walls) {
  std::map<std::string_view, uint32_t> found;
  for (const ThreadWalls& thread : walls.threads) {
    auto policy = PolicyOfThread(expected.part, expected.isolation, walls, thread);
    if (policy.empty() && !thread.status.name.starts_with("kvm-"))
      return Differs("threads", Cat(Named(thread), " has a name that msb-vmm gives to none"));
    found[policy]++;
  }
  std::string says =
      Cat(found["vmm devices"], " device thread, ", found["vmm worker"], " block worker, ",
          found["vmm processor"], " of ", expected.cpus, " processors");
  if (found[""] != 0) says += Cat(", ", found[""], " of the kernel's own");
  bool as_made = found["vmm devices"] == 1 && found["vmm worker"] == 1 &&
                 found["vmm processor"] == expected.cpus;
  return as_made ? Holds("threads", says) : Differs("threads", says);
}

Finding CompareWall(const std::string& wall, const Expected& expected, const ProcessWalls& walls,
                    const std::vector<const jail::Namespaces*>& others) {
  static constexpr std::pair<std::string_view, std::string_view> kNamespaces[] = {
      {"mount namespace", "mnt"}, {"pid namespace", "pid"},  {"network namespace", "net"},
      {"ipc namespace", "ipc"},   {"uts namespace", "uts"},  {"cgroup namespace", "cgroup"},
      {"user namespace", "user"}, {"time namespace", "time"}};
  for (const auto& [name, kind] : kNamespaces)
    if (wall == name) return CompareNamespace(wall, kind, walls, others);
  if (wall == "ids") return CompareIds(wall, walls, expected.uid, /*alone=*/true);
  if (wall == "no capabilities") return CompareCapabilities(wall, walls, /*bounding=*/true);
  // An ordinary user's process cannot empty its bounding set.
  if (wall == "capabilities") return CompareCapabilities(wall, walls, /*bounding=*/false);
  if (wall == "no_new_privs") return CompareNoNewPrivileges(wall, walls);
  if (wall == "read-only root") return CompareRoot(wall, walls);
  if (wall == "no descriptors but its own") return CompareDescriptors(wall, walls);
  bool vmm = expected.part == Part::kMachine && expected.isolation == Isolation::kVm;
  if (wall == "seccomp") return CompareSeccomp(wall, walls, vmm ? kFiltersOfVmm : 1);
  if (wall == "landlock")
    return Unknown(wall, "the kernel shows nobody another process's Landlock domain");
  return Unknown(wall, "this version does not know how to look");
}

std::optional<uint64_t> LimitOf(const ProcessWalls& machine, std::string_view name) {
  if (!machine.limits) return std::nullopt;
  for (const jail::ProcessLimit& limit : *machine.limits)
    if (limit.name == name) return limit.hard;
  return std::nullopt;
}

// The first finite one of the machine's cgroups, as its file says it.
std::optional<std::string> CgroupLimit(const std::vector<CgroupInForce>& cgroups,
                                       std::initializer_list<const char*> files) {
  for (const CgroupInForce& cgroup : cgroups) {
    if (!cgroup.holds_machine || !*cgroup.holds_machine) continue;
    for (const char* file : files) {
      auto found = cgroup.limits.find(file);
      if (found == cgroup.limits.end() || found->second.starts_with("max")) continue;
      auto number = ParseNumber<int64_t>(Split(found->second, ' ')[0]);
      if (!number || *number < 0 || static_cast<uint64_t>(*number) >= kNoLimitFrom) continue;
      return Cat(file, " ", found->second);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view PolicyOfThread(Part part, Isolation isolation, const ProcessWalls& walls,
                                const ThreadWalls& thread) {
  if (part == Part::kSupervisor) return "supervisor";
  if (part == Part::kJailInit) return "jail init";
  if (part == Part::kOther) return "";
  if (isolation == Isolation::kProcess) return box::DefaultPolicy().name;
  if (isolation != Isolation::kVm) return "qemu";
  std::string_view name = thread.status.name;
  if (thread.tid == walls.pid) return "vmm devices";
  if (name == "blk") return "vmm worker";
  if (name.starts_with("vcpu") && ParseNumber<uint32_t>(name.substr(4))) return "vmm processor";
  return "";
}

jail::Policy FindPolicy(std::string_view name) {
  for (const jail::Policy& policy : jail::SmallProgramPolicies())
    if (policy.name == name) return policy;
  for (const jail::Policy& policy : jail::VmmPolicies())
    if (policy.name == name) return policy;
  if (jail::Policy policy = box::DefaultPolicy(); policy.name == name) return policy;
  CHECK(jail::QemuPolicy().name == name);
  return jail::QemuPolicy();
}

std::vector<Finding> CompareWalls(const Expected& expected, const ProcessWalls& walls,
                                  const std::vector<const jail::Namespaces*>& others) {
  std::vector<Finding> findings;
  for (const std::string& wall : expected.walls) {
    findings.push_back(CompareWall(wall, expected, walls, others));
    // A user namespace's id is the user's own.
    if (wall == "user namespace" && expected.part == Part::kMachine)
      findings.push_back(CompareIds("ids", walls, expected.uid, /*alone=*/false));
  }
  if (expected.part == Part::kMachine && expected.isolation == Isolation::kVm)
    findings.push_back(CompareThreads(expected, walls));
  return findings;
}

std::vector<Finding> CompareLimits(const std::vector<std::string>& promised,
                                   const ProcessWalls& machine,
                                   const std::vector<CgroupInForce>& cgroups) {
  std::vector<Finding> findings;
  for (const std::string& limit : promised) {
    auto words = Split(limit, ' ');
    std::vector<std::string> seen, missing;
    auto note = [&](std::string_view what, std::optional<std::string> value) {
      if (value)
        seen.push_back(*value);
      else
        missing.emplace_back(what);
    };
    bool memory = limit.starts_with("memory:"), pids = limit.starts_with("pids:");
    if (limit.find("cgroup") != std::string::npos)
      note("cgroup", memory ? CgroupLimit(cgroups, {"memory.max", "memory.limit_in_bytes"})
                     : pids ? CgroupLimit(cgroups, {"pids.max"})
                            : CgroupLimit(cgroups, {"cpu.max", "cpu.cfs_quota_us"}));
    for (const auto& [name, line] :
         {std::pair("RLIMIT_AS", "Max address space"), std::pair("RLIMIT_DATA", "Max data size"),
          std::pair("RLIMIT_NPROC", "Max processes")})
      if (limit.find(name) != std::string::npos) {
        auto value = LimitOf(machine, line);
        note(name, value ? std::optional(Cat(name, " ", *value)) : std::nullopt);
      }
    if (!missing.empty())
      findings.push_back(Differs(limit, Cat("not found: ", Join(missing, ", "))));
    else if (seen.empty())
      findings.push_back(Unknown(limit, "no such limit was promised"));
    else
      findings.push_back(Holds(limit, Join(seen, ", ")));
  }
  return findings;
}

}  // namespace msb::sandbox
