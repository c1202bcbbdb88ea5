// SPDX-License-Identifier: Apache-2.0
// Cgroups are named box-PID-RANDOM: whose process is gone is nobody's.

#include "programs/microbox/limits.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/text.h"
#include "programs/microbox/notice.h"
#include "sys/random.h"

namespace msb::microbox {
namespace {

constexpr std::string_view kPrefix = "box-";

// Only what is empty goes, and nobody is waited for: a sandbox dies with its microbox, so what has
// members is alive, or its last ones are on their way out and the next start finds it empty. One of
// another process-id namespace, whose number says nothing here, keeps its cgroup by its members.
void RemoveLeftOver(const sys::CgroupHost& host) {
  auto names = sys::Cgroup::ListOurs(host, kPrefix);
  if (!names) return;
  for (const std::string& name : *names) {
    auto fields = Split(name, '-');
    auto pid = fields.size() == 3 ? ParseNumber<int>(fields[1]) : std::nullopt;
    // A number that is another's by now only means a later removal.
    if (!pid || ::kill(*pid, 0) == 0 || errno != ESRCH) continue;
    auto cgroup = sys::Cgroup::Adopt(host, name);
    if (cgroup) (void)cgroup->Remove();
  }
}

// A hierarchy that only counts processor time costs a start as much as one that limits, and what
// it counts the kernel tells of a child that has been reaped.
void LeaveOutWhatOnlyCounts(sys::CgroupHost& host) {
  std::erase_if(host.hierarchies, [](const sys::CgroupHost::Hierarchy& one) {
    return !one.v2 && one.controllers == std::vector<std::string>{"cpuacct"};
  });
}

Result<sys::Cgroup> MakeCgroup(const Options& options) {
  auto host = TRY(sys::CgroupHost::Find(""));
  LeaveOutWhatOnlyCounts(host);
  RemoveLeftOver(host);
  std::byte random[4];
  sys::FillRandom(random);
  return sys::Cgroup::Create(
      host, Cat(kPrefix, ::getpid(), "-", Hex(random)),
      {.memory_bytes = options.memory_bytes, .cpu_milli = options.cpu_milli, .pids = options.pids});
}

Error NotEnforced(std::string_view what) {
  return Error(Code::kFailedPrecondition, Cat("not enforced: ", what))
      .Remedy(Cat(kLimitsRemedy, ", or leave --require-limits out"));
}

}  // namespace

Limits TryLimits(const Options& options) {
  Limits limits;
  if (options.memory_bytes == 0 && options.cpu_milli == 0 && options.pids == 0) return limits;
  auto cgroup = MakeCgroup(options);
  if (!cgroup) {
    limits.missing = Cat("--memory, --cpus and --pids: ", cgroup.error().message());
    return limits;
  }
  limits.missing = Join(cgroup->missing(), "; ");
  limits.cgroup = std::move(*cgroup);
  return limits;
}

Result<Limits> SetLimits(const Options& options) {
  Limits limits = TryLimits(options);
  if (limits.missing.empty()) return limits;
  if (options.require_limits) {
    if (limits.cgroup) (void)limits.cgroup->Remove();
    return NotEnforced(limits.missing);
  }
  Say(options, LogLevel::kWarn, Cat("not enforced: ", limits.missing));
  return limits;
}

}  // namespace msb::microbox
