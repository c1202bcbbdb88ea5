// SPDX-License-Identifier: Apache-2.0
// Finding a cgroup for a sandbox.

#include "sandbox/supervisor_cgroup.h"

#include <unistd.h>

#include "base/text.h"
#include "sandbox/cgroup_name.h"

namespace msb::sandbox {
namespace {

// QEMU's own threads beside the guest's processors: init, main loop, RCU, and up to 64 for disk
// requests (util/thread-pool.c); QEMU ends when it cannot make one.
constexpr uint32_t kHelperCpuMilli = 500;
constexpr uint32_t kMachinePids = 96;
// Generous, but an end: as the guest's own cgroup allows in a machine.
constexpr uint32_t kSandboxPids = 16'384;
// A manager answers within milliseconds, on a busy host after its first login within seconds; one
// that hangs must not keep a sandbox from its start for ever.
constexpr auto kManagerPatience = std::chrono::seconds(10);
// The kernel's own memory for a file in memory: a node of the page cache's tree has 576 bytes for
// 64 pages, 1/455.
constexpr uint64_t kNodeShare = 256;

// What the host does not let us set is named in the record, and told by the client. `remedy`: of
// what failed; empty when none is known.
Result<void> CheckRequired(const SupervisorParts& parts, std::string_view remedy = "") {
  if (!parts.spec.require_limits || parts.state.missing_limits.empty()) return {};
  return Error(Code::kFailedPrecondition,
               Cat("--require-limits: ", Join(parts.state.missing_limits, "; ")))
      .Remedy(remedy.empty()
                  ? "leave out --require-limits, or give a delegated cgroup: --cgroup DIR"
                  : remedy);
}

Result<sys::CgroupHost> InScope(sys::ScopeRequest& request) {
  TRY(request.Await());
  auto host = TRY(sys::CgroupHost::OfScope(request.unit()));
  TRY(sys::LeaveCallersCgroup(host));
  return host;
}

Result<sys::CgroupHost> FindHost(ScopeAsked& asked, SupervisorParts& parts) {
  std::string& way = parts.state.cgroup_way;
  if (asked) {
    way = Cat("scope of ", ::geteuid() == 0 ? "the system's" : "the user's", " manager");
    sys::ScopeRequest request = TRY(std::move(*asked));
    return InScope(request);
  }
  way = parts.spec.cgroup.empty() ? "plain" : "given";
  return sys::CgroupHost::Find(parts.spec.cgroup);
}

// A process sandbox is the programs alone, and one that is killed for memory leaves the others.
sys::CgroupLimits LimitsOf(const SandboxSpec& spec, bool disk_in_memory) {
  bool process = spec.isolation == Isolation::kProcess;
  return {.memory_bytes = MachineMemoryLimit(spec, disk_in_memory),
          .cpu_milli = spec.cpus * 1000 + (process ? 0 : kHelperCpuMilli),
          .pids = process ? kSandboxPids : kMachinePids + spec.cpus,
          .kill_as_one = !process};
}

}  // namespace

ScopeAsked AskForScope(const Handover& handover, std::string_view id) {
  if (!handover.spec.cgroup.empty() || !sys::SystemdOwnsCgroups()) return std::nullopt;
  auto ask = [&]() -> Result<sys::ScopeRequest> {
    TRY(sys::CheckScopesWork());
    return sys::ScopeRequest::Send(
        ScopeName(id), Cat("microsandbox ", id),
        sys::ManagerSockets(::geteuid(), handover.runtime_dir, handover.bus_address),
        Deadline::After(kManagerPatience));
  };
  return ask();
}

uint64_t MachineMemoryLimit(const SandboxSpec& spec, bool disk_in_memory) {
  uint64_t machine = 0;
  switch (spec.isolation) {
    case Isolation::kVm:
      machine = VmmMemoryLimit(spec.memory_bytes);
      break;
    case Isolation::kVmEmulated:
      machine = QemuMemoryLimit(spec.memory_bytes);
      break;
    case Isolation::kProcess:
      machine = ProcessMemoryLimit(spec.memory_bytes);
      break;
  }
  // Whoever writes a page of tmpfs is charged for it until the file is gone. Without room for all
  // of its disk the machine would be killed for using what --storage promises.
  if (!disk_in_memory) return machine;
  return machine + spec.storage_bytes + spec.storage_bytes / kNodeShare;
}

Result<void> MakeCgroup(BorrowedFd home, bool disk_in_memory, ScopeAsked asked,
                        SupervisorParts& parts) {
  auto make = [&]() -> Result<void> {
    parts.cgroup_host = TRY(FindHost(asked, parts));
    std::string name = parts.cgroup_host->is_ours_alone() ? std::string(kMachineOfScope)
                                                          : CgroupName(home, parts.record->id());
    parts.cgroup =
        TRY(sys::Cgroup::Create(*parts.cgroup_host, name, LimitsOf(parts.spec, disk_in_memory)));
    return {};
  };
  auto made = make();
  if (made) {
    parts.state.missing_limits = parts.cgroup->missing();
    parts.state.cgroups = parts.cgroup->Paths();
    return CheckRequired(parts);
  }
  // A cgroup that was given and does not work is an error, not a reason to look further.
  if (!parts.spec.cgroup.empty())
    return std::move(made).error().Context(Cat("--cgroup ", Escape(parts.spec.cgroup, 200)));
  bool left = parts.cgroup_host && parts.cgroup_host->is_ours_alone();
  parts.cgroup_host.reset();
  parts.state.cgroup_way = "none";
  parts.state.missing_limits = {Cat("memory, cpu and pids",
                                    left ? "" : ", and the caller's cgroup not left", ": ",
                                    made.error().message())};
  return CheckRequired(parts, made.error().remedy());
}

Result<void> LeaveCaller(SupervisorParts& parts) {
  if (!parts.cgroup_host || parts.cgroup_host->is_ours_alone()) return {};
  auto left = sys::LeaveCallersCgroup(*parts.cgroup_host);
  if (left) return {};
  if (!parts.spec.cgroup.empty())
    return std::move(left).error().Context(Cat("--cgroup ", Escape(parts.spec.cgroup, 200)));
  parts.state.missing_limits.push_back(
      Cat("the supervisor stays in its caller's cgroup: ", left.error().message()));
  return CheckRequired(parts);
}

}  // namespace msb::sandbox
