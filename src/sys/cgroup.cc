// SPDX-License-Identifier: Apache-2.0
// Cgroups as directories: made, limited, emptied and removed. Version 1 has a directory in each
// hierarchy, version 2 one.

#include "sys/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/deadline.h"
#include "base/name.h"
#include "base/text.h"
#include "sys/cgroup_mounts.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::sys {
namespace {

constexpr size_t kFileLimit = 1 << 20;
constexpr uint64_t kCpuPeriodUs = 100'000;

std::optional<uint64_t> ReadNumber(BorrowedFd dir, const std::string& name) {
  auto text = FindFileAt(dir, name, kFileLimit);
  if (!text || !*text) return std::nullopt;
  std::string value = **text;
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return ParseNumber<uint64_t>(value);
}

// "key value" a line.
std::optional<uint64_t> ReadKey(BorrowedFd dir, const std::string& name, std::string_view key) {
  auto text = FindFileAt(dir, name, kFileLimit);
  if (!text || !*text) return std::nullopt;
  for (const std::string& line : Split(**text, '\n')) {
    auto fields = Split(line, ' ');
    if (fields.size() == 2 && fields[0] == key) return ParseNumber<uint64_t>(fields[1]);
  }
  return std::nullopt;
}

std::string Quota(uint32_t cpu_milli) { return Cat(cpu_milli * (kCpuPeriodUs / 1000)); }

// Names come from records and directory listings: one path component, never "..".
Result<void> CheckCgroupName(std::string_view name) {
  auto dot = name.find('.');
  TRY(CheckName(name.substr(0, dot), "cgroup"));
  if (dot != std::string_view::npos) TRY(CheckName(name.substr(dot + 1), "cgroup suffix"));
  return {};
}

Result<std::vector<int>> Members(BorrowedFd dir) {
  std::vector<int> pids;
  for (const std::string& line : Split(TRY(ReadFileAt(dir, "cgroup.procs", kFileLimit)), '\n'))
    if (auto pid = ParseNumber<int>(line)) pids.push_back(*pid);
  return pids;
}

}  // namespace

Result<Cgroup> Cgroup::Create(const CgroupHost& host, std::string_view name,
                              const CgroupLimits& limits) {
  TRY(CheckCgroupName(name));
  Cgroup cgroup;
  cgroup.name_ = name;
  std::vector<std::string> made_tops;
  auto make = [&]() -> Result<void> {
    for (const CgroupHost::Hierarchy& hierarchy : host.hierarchies) {
      bool made = false;
      auto ours = EnsureOurCgroups(host, hierarchy, &made);
      std::string top = OurCgroups(host, hierarchy);
      if (made) made_tops.push_back(top);
      if (!ours) return std::move(ours).error();
      TRY(MkdirAt(*ours, cgroup.name_, 0755).Context(hierarchy.root));
      // Owned from here on: a failure below removes it.
      cgroup.places_.push_back({Cat(top, "/", name), {}, hierarchy.v2});
      cgroup.places_.back().dir = TRY(OpenAt(*ours, cgroup.name_, O_RDONLY | O_DIRECTORY));
    }
    return cgroup.SetLimits(host, limits);
  };
  if (auto made = make(); !made) {
    (void)cgroup.Remove();
    // What others make cgroups in meanwhile is not empty and stays.
    for (const std::string& top : made_tops) (void)::rmdir(top.c_str());
    Error error = std::move(made).error().Context(Cat("cgroup ", name));
    if (error.code() != Code::kPermissionDenied && error.sys_errno() != EROFS) return error;
    return std::move(error).Remedy(host.way == CgroupHost::Way::kGiven
                                       ? "give a cgroup that you may write: chown it and its files"
                                       : "run as root, or give a delegated cgroup: --cgroup DIR");
  }
  return cgroup;
}

Result<void> Cgroup::SetLimits(const CgroupHost& host, const CgroupLimits& limits) {
  auto attempt = [&](std::string_view controller, bool wanted, auto set_v1, auto set_v2) {
    if (!wanted) return false;
    for (size_t i = 0; i < places_.size(); i++) {
      if (!HasController(host.hierarchies[i], controller)) continue;
      Result<void> set = places_[i].v2 ? set_v2(places_[i].dir) : set_v1(places_[i].dir);
      if (set.ok()) return true;
      missing_.push_back(Cat(controller, ": ", set.error().message()));
      return false;
    }
    missing_.push_back(Cat(controller, ": the host has no such controller"));
    return false;
  };
  std::string memory = Cat(limits.memory_bytes);
  memory_limited_ = attempt(
      "memory", limits.memory_bytes != 0,
      [&](const UniqueFd& dir) -> Result<void> {
        TRY(WriteCgroupFile(dir, "memory.limit_in_bytes", memory));
        // Only where the kernel counts swap; the plain limit stands either way.
        (void)WriteCgroupFile(dir, "memory.memsw.limit_in_bytes", memory);
        return {};
      },
      [&](const UniqueFd& dir) -> Result<void> {
        TRY(WriteCgroupFile(dir, "memory.max", memory));
        (void)WriteCgroupFile(dir, "memory.swap.max", "0");
        if (!limits.kill_as_one) return {};
        return WriteCgroupFile(dir, "memory.oom.group", "1");
      });
  cpu_limited_ = attempt(
      "cpu", limits.cpu_milli != 0,
      [&](const UniqueFd& dir) -> Result<void> {
        TRY(WriteCgroupFile(dir, "cpu.cfs_period_us", Cat(kCpuPeriodUs)));
        return WriteCgroupFile(dir, "cpu.cfs_quota_us", Quota(limits.cpu_milli));
      },
      [&](const UniqueFd& dir) {
        return WriteCgroupFile(dir, "cpu.max", Cat(Quota(limits.cpu_milli), ' ', kCpuPeriodUs));
      });
  auto set_pids = [&](const UniqueFd& dir) {
    return WriteCgroupFile(dir, "pids.max", Cat(limits.pids));
  };
  pids_limited_ = attempt("pids", limits.pids != 0, set_pids, set_pids);
  bool v1_disks = std::any_of(host.hierarchies.begin(), host.hierarchies.end(),
                              [](const auto& one) { return HasController(one, kDisksV1); });
  io_limited_ = attempt(
      v1_disks ? kDisksV1 : kDisksV2, limits.io_bytes != 0,
      [&](const UniqueFd& dir) -> Result<void> {
        for (const DeviceNumber& disk : limits.disks)
          for (const char* file :
               {"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"})
            TRY(WriteCgroupFile(dir, file, Cat(disk.Text(), ' ', limits.io_bytes)));
        return {};
      },
      [&](const UniqueFd& dir) -> Result<void> {
        for (const DeviceNumber& disk : limits.disks)
          TRY(WriteCgroupFile(
              dir, "io.max",
              Cat(disk.Text(), " rbps=", limits.io_bytes, " wbps=", limits.io_bytes)));
        return {};
      });
  bool any_wanted =
      limits.memory_bytes != 0 || limits.cpu_milli != 0 || limits.pids != 0 || limits.io_bytes != 0;
  if (any_wanted && !memory_limited_ && !cpu_limited_ && !pids_limited_ && !io_limited_)
    return Error(Code::kFailedPrecondition, Cat("no limit could be set: ", Join(missing_, "; ")))
        .Remedy(host.way == CgroupHost::Way::kPlain
                    ? ""
                    : "give a cgroup whose cgroup.controllers has memory, cpu and pids");
  for (const Place& place : places_)
    if (place.v2 && !into_fd_) into_fd_ = TRY(Duplicate(place.dir));
  return {};
}

Result<Cgroup> Cgroup::Adopt(const CgroupHost& host, std::string_view name) {
  TRY(CheckCgroupName(name));
  Cgroup cgroup;
  cgroup.name_ = name;
  for (const CgroupHost::Hierarchy& hierarchy : host.hierarchies) {
    auto ours = OpenOurCgroups(host, hierarchy);
    if (!ours) continue;
    auto dir = OpenAt(*ours, cgroup.name_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!dir) continue;
    cgroup.places_.push_back(
        {Cat(OurCgroups(host, hierarchy), "/", name), *std::move(dir), hierarchy.v2});
  }
  if (cgroup.places_.empty()) return Error(Code::kNotFound, Cat("no cgroup ", name));
  return cgroup;
}

Result<std::vector<std::string>> Cgroup::ListOurs(const CgroupHost& host, std::string_view prefix) {
  std::vector<std::string> names;
  if (host.hierarchies.empty()) return names;
  // What is anywhere is in the first: made there before the others, removed there after them.
  auto ours = OpenOurCgroups(host, host.hierarchies.front());
  if (!ours) {
    if (ours.error().code() == Code::kNotFound) return names;
    return std::move(ours).error();
  }
  for (std::string& name : TRY(ListDirectory(*ours))) {
    if (!name.starts_with(prefix)) continue;
    auto info = TRY(FindAt(*ours, name));
    if (info && S_ISDIR(info->st_mode)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Cgroup::has_v1() const {
  return std::any_of(places_.begin(), places_.end(), [](const Place& p) { return !p.v2; });
}

Result<std::vector<UniqueFd>> Cgroup::OpenV1Doors() const {
  std::vector<UniqueFd> doors;
  for (const Place& place : places_)
    if (!place.v2) doors.push_back(TRY(OpenAt(place.dir, "tasks", O_WRONLY)));
  return doors;
}

Result<void> Cgroup::Add(int pid) const {
  for (const Place& place : places_)
    TRY(WriteCgroupFile(place.dir, "cgroup.procs", Cat(pid)).Context(place.path));
  return {};
}

void Cgroup::LiftForTheEnd() const {
  for (const Place& place : places_) {
    (void)WriteCgroupFile(place.dir, "pids.max", "0");
    if (place.v2)
      (void)WriteCgroupFile(place.dir, "cpu.max", "max");
    else
      (void)WriteCgroupFile(place.dir, "cpu.cfs_quota_us", "-1");
  }
}

Result<void> Cgroup::Kill() const {
  Deadline deadline = Deadline::After(std::chrono::seconds(5));
  // No new member while we go through the list; version 2 has one call for all of it.
  LiftForTheEnd();
  for (const Place& place : places_)
    if (place.v2) (void)WriteCgroupFile(place.dir, "cgroup.kill", "1");
  for (const Place& place : places_) {
    for (;;) {
      auto members = Members(place.dir);
      if (!members && members.error().code() == Code::kNotFound) break;
      if (!members) return std::move(members).error().Context(place.path);
      if (members->empty()) break;
      if (deadline.Passed())
        return Error(Code::kDeadlineExceeded, Cat(place.path, " still has processes"));
      for (int pid : *members) {
        auto pidfd = PidfdOpen(pid);
        if (!pidfd) continue;
        TRY(PidfdSendSignal(*pidfd, SIGKILL));
        pollfd ended{pidfd->get(), POLLIN, 0};
        (void)::poll(&ended, 1, deadline.PollTimeout());
      }
    }
  }
  return {};
}

Result<void> Cgroup::Remove() {
  into_fd_.Reset();
  // From the last to the first, where what remains is looked for.
  while (!places_.empty()) {
    places_.back().dir.Reset();
    const std::string& path = places_.back().path;
    if (::rmdir(path.c_str()) == -1 && errno != ENOENT) return Error::Errno(Cat("rmdir ", path));
    places_.pop_back();
  }
  return {};
}

std::optional<uint64_t> Cgroup::OomKills() const {
  std::optional<uint64_t> found;
  for (const Place& place : places_)
    if (auto kills =
            ReadKey(place.dir, place.v2 ? "memory.events" : "memory.oom_control", "oom_kill"))
      found = kills;
  return found;
}

CgroupUsage Cgroup::Usage() const {
  CgroupUsage usage{.oom_kills = OomKills()};
  for (const Place& place : places_) {
    if (auto peak = ReadNumber(place.dir, "pids.peak")) usage.pids_peak = peak;
    if (place.v2) {
      if (auto us = ReadKey(place.dir, "cpu.stat", "usage_usec")) usage.cpu_ns = *us * 1000;
      if (auto peak = ReadNumber(place.dir, "memory.peak")) usage.memory_peak_bytes = peak;
      continue;
    }
    if (auto ns = ReadNumber(place.dir, "cpuacct.usage")) usage.cpu_ns = ns;
    if (auto peak = ReadNumber(place.dir, "memory.max_usage_in_bytes"))
      usage.memory_peak_bytes = peak;
  }
  return usage;
}

Result<UniqueFd> Cgroup::OpenMemoryEvents() const {
  for (const Place& place : places_) {
    auto file = OpenAt(place.dir, place.v2 ? "memory.events" : "memory.oom_control", O_RDONLY);
    if (file || file.error().sys_errno() != ENOENT) return file;
  }
  return UniqueFd();
}

std::vector<std::string> Cgroup::Paths() const {
  std::vector<std::string> paths;
  for (const Place& place : places_) paths.push_back(place.path);
  return paths;
}

}  // namespace msb::sys
