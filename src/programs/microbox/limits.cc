// SPDX-License-Identifier: Apache-2.0
// Cgroups are named box-PID-RANDOM: whose process is gone is nobody's.

#include "programs/microbox/limits.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "jail/box/mount_table.h"
#include "programs/microbox/notice.h"
#include "sys/file.h"
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

// A hierarchy costs a start as much when it limits nothing. What the one that counts processor time
// counts, the kernel tells of a child that has been reaped.
void LeaveOutWhatLimitsNothing(sys::CgroupHost& host, bool disks) {
  if (!disks) host.LeaveDisksOut();
  std::erase_if(host.hierarchies, [](const sys::CgroupHost::Hierarchy& one) {
    return !one.v2 && one.controllers == std::vector<std::string>{"cpuacct"};
  });
}

// With the mounts below them, which come along.
Result<std::vector<std::string>> ReachedPaths(const Options& options) {
  auto table =
      box::ParseMountInfo(TRY(sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", 4 << 20)));
  std::vector<std::string> paths;
  auto add = [&](const std::string& given) -> Result<void> {
    char path[PATH_MAX];
    if (::realpath(given.c_str(), path) == nullptr) return Error::Errno(given);
    paths.emplace_back(path);
    for (std::string& place : box::MountsBelow(table, path)) paths.push_back(std::move(place));
    return {};
  };
  if (options.spec.root == box::RootKind::kHost) {
    paths = box::HostMounts(table);
    paths.emplace_back("/");
  }
  if (options.spec.root == box::RootKind::kDirectory) TRY(add(options.spec.root_directory));
  for (const box::Bind& bind : options.spec.binds) TRY(add(bind.source));
  return paths;
}

// Of what the sandbox reaches; `missing` names what lies on none.
std::vector<sys::DeviceNumber> FindDisks(const Options& options,
                                         std::vector<std::string>& missing) {
  std::set<sys::DeviceNumber> disks;
  auto paths = ReachedPaths(options);
  if (!paths) {
    missing.push_back(Cat("--io-bps: ", paths.error().message()));
    return {};
  }
  for (const std::string& path : *paths) {
    auto disk = sys::DiskOf(path);
    if (!disk)
      missing.push_back(Cat("--io-bps: ", disk.error().message()));
    else if (*disk)
      disks.insert(**disk);
  }
  return {disks.begin(), disks.end()};
}

Result<sys::Cgroup> MakeCgroup(const Options& options, LimitsPlace place,
                               std::vector<sys::DeviceNumber> disks) {
  auto host = TRY(std::move(place));
  RemoveLeftOver(host);
  LeaveOutWhatLimitsNothing(host, !disks.empty());
  std::byte random[4];
  sys::FillRandom(random);
  return sys::Cgroup::Create(host, Cat(kPrefix, ::getpid(), "-", Hex(random)),
                             {.memory_bytes = options.memory_bytes,
                              .cpu_milli = options.cpu_milli,
                              .pids = options.pids,
                              .io_bytes = disks.empty() ? 0 : options.io_bytes,
                              .disks = std::move(disks)});
}

bool AsksForLimits(const Options& options) {
  return options.memory_bytes != 0 || options.cpu_milli != 0 || options.pids != 0 ||
         options.io_bytes != 0;
}

Error NotEnforced(std::string_view what) {
  return Error(Code::kFailedPrecondition, Cat("not enforced: ", what))
      .Remedy(Cat(kLimitsRemedy, ", or leave --require-limits out"));
}

}  // namespace

LimitsPlace FindLimitsPlace(const Options& options) {
  if (!AsksForLimits(options)) return sys::CgroupHost{};
  return sys::CgroupHost::Find("", sys::CgroupHost::Disks::kLimit);
}

bool IsEnteredLater(const LimitsPlace& place) {
  return place && std::none_of(place->hierarchies.begin(), place->hierarchies.end(),
                               [](const auto& hierarchy) { return hierarchy.v2; });
}

Limits TryLimits(const Options& options, LimitsPlace place) {
  Limits limits;
  if (!AsksForLimits(options)) return limits;
  std::vector<std::string> missing;
  std::vector<sys::DeviceNumber> disks;
  if (options.io_bytes != 0) disks = FindDisks(options, missing);
  auto cgroup = MakeCgroup(options, std::move(place), std::move(disks));
  if (!cgroup) {
    limits.missing =
        Cat("--memory, --cpus", options.io_bytes != 0 ? ", --pids and --io-bps: " : " and --pids: ",
            cgroup.error().message());
    return limits;
  }
  // Documentation/admin-guide/cgroup-v1/blkio-controller.rst: what is written through the page
  // cache is nobody's.
  if (cgroup->LimitsIo() && cgroup->has_v1())
    missing.emplace_back("--io-bps: version 1 cgroups limit what is read, and direct writes only");
  missing.insert(missing.end(), cgroup->missing().begin(), cgroup->missing().end());
  limits.missing = Join(missing, "; ");
  limits.cgroup = std::move(*cgroup);
  return limits;
}

Result<Limits> SetLimits(const Options& options, LimitsPlace place) {
  Limits limits = TryLimits(options, std::move(place));
  if (limits.missing.empty()) return limits;
  if (options.require_limits) {
    if (limits.cgroup) (void)limits.cgroup->Remove();
    return NotEnforced(limits.missing);
  }
  Say(options, LogLevel::kWarn, Cat("not enforced: ", limits.missing));
  return limits;
}

}  // namespace msb::microbox
