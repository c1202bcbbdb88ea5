// SPDX-License-Identifier: Apache-2.0
// Cgroups: one for each sandbox's machine, on version 1 hierarchies, version 2, or both.
//
// Where they are made: as `microsandbox/<name>` beneath a delegated cgroup that was given; else,
// where systemd owns the tree, in a transient scope of the sandbox's own (systemd_scope.h); else as
// `microsandbox/<name>` at the top of the plain cgroup file systems. Never beneath the caller's own
// cgroup unless that one was given: a sandbox outlives the unit that started it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sys/disk.h"

namespace msb::sys {

// Zero leaves a limit unset.
struct CgroupLimits {
  uint64_t memory_bytes = 0;  // With swap, where the host counts it.
  uint32_t cpu_milli = 0;     // Thousandths of one CPU.
  uint32_t pids = 0;
  // A second, of reads and of writes each, on each of these: whole disks, as sys/disk.h finds them.
  uint64_t io_bytes = 0;
  std::vector<DeviceNumber> disks;
  // Out of memory, version 2 kills all members: half a machine is of no use to anybody. Version 1
  // kills one process either way.
  bool kill_as_one = true;
};

struct CgroupUsage {
  std::optional<uint64_t> cpu_ns;
  std::optional<uint64_t> memory_peak_bytes;
  std::optional<uint64_t> pids_peak;  // Linux 6.1 in version 2, 6.11 in version 1.
  std::optional<uint64_t> oom_kills;  // Processes the kernel killed for the memory limit.
};

// Where cgroups are made on this host. Found once a process; cheap to keep.
struct CgroupHost {
  struct Hierarchy {
    std::string root;                      // "/sys/fs/cgroup/memory"
    std::vector<std::string> controllers;  // "memory"; of version 2 all that it offers.
    bool v2 = false;
  };
  std::vector<Hierarchy> hierarchies;
  enum class Way : uint8_t { kPlain, kGiven, kScope };
  Way way = Way::kPlain;

  // `delegated` is an absolute directory of a cgroup that the user gave us to divide, in version 1
  // its directory in any of the hierarchies: where others have the same path, they are used too.
  // Empty looks for plain cgroup file systems. Fails where systemd owns the tree, or none is
  // mounted. The controller of disks costs its own directory in version 1, so it is there for those
  // who ask.
  enum class Disks : uint8_t { kLeaveOut, kLimit };
  static Result<CgroupHost> Find(std::string_view delegated, Disks disks = Disks::kLeaveOut);

  // The transient scope `unit`, in which systemd has put this process. Fails when it has not.
  static Result<CgroupHost> OfScope(std::string_view unit);
  // The scope at `path`, for gc and after a crash. kNotFound when it has gone, kInvalidArgument
  // when that is no cgroup of version 2.
  static Result<CgroupHost> AtScope(std::string path);

  // For who asked for them and limits none after all.
  void LeaveDisksOut();

  // Ours are its children: nobody else makes any there.
  bool is_ours_alone() const { return way == Way::kScope; }

 private:
  void Sort(Disks disks);
};

// Whether systemd runs this host (sd_booted(3)): it alone may then write the upper levels of the
// cgroup tree.
bool SystemdOwnsCgroups();
// Whether its scopes are of use to us: version 2 with the controllers for limits. In version 1
// delegation to ordinary users is not safe, and hybrid trees have their limits there.
Result<void> CheckScopesWork();

// Moves this process out of the cgroup that it was started in, which may be limited, ended or
// removed as a whole: into `microsandbox/supervisors`. All share that one and it stays, because
// nobody can remove the cgroup that he is in. A process at the root of a plain hierarchy stays
// there. In a scope it goes into `supervisor`, before any cgroup is made: one that has processes of
// its own cannot be divided.
Result<void> LeaveCallersCgroup(const CgroupHost& host);

// A cgroup of ours. Dropping the value leaves the cgroup: Remove() takes it away.
class Cgroup {
 public:
  // The names of the limits that this host could not set come back in missing(); no limit at all is
  // an error. `name` fits base/name.h, a dot and a suffix allowed.
  static Result<Cgroup> Create(const CgroupHost& host, std::string_view name,
                               const CgroupLimits& limits);
  // One that exists, for gc and after a crash.
  static Result<Cgroup> Adopt(const CgroupHost& host, std::string_view name);
  // Names that begin with `prefix`.
  static Result<std::vector<std::string>> ListOurs(const CgroupHost& host,
                                                   std::string_view prefix = "");

  Result<void> Add(int pid) const;
  // For CLONE_INTO_CGROUP; invalid when no version 2 hierarchy is used.
  const UniqueFd& into_fd() const { return into_fd_; }
  bool has_v1() const;
  // Of each version 1 hierarchy the file into which a thread writes "0" to enter, wherever it is by
  // then: the kernel goes by who opened it. Add() of another process waits for a grace period of
  // RCU, milliseconds; a thread that moves itself does not (cgroup_procs_write_start(), Linux 5.5).
  Result<std::vector<UniqueFd>> OpenV1Doors() const;

  // For members that are killed: no new one comes, and none waits for its share of the processor
  // before it can die. Under a fork bomb that share is used up for minutes, the init's too.
  void LiftForTheEnd() const;
  // Kills all members, children of them included, until none is left. Not for a confined
  // supervisor: version 1 needs pidfd_open. Its jail is empty when it has been reaped.
  Result<void> Kill() const;
  // Removes the directories; done already is fine. Members must be gone (EBUSY otherwise).
  Result<void> Remove();
  CgroupUsage Usage() const;
  // Usage().oom_kills alone.
  std::optional<uint64_t> OomKills() const;
  // The file whose line `oom_kill` counts what Usage().oom_kills does, for whoever counts from
  // inside; invalid where the host counts none.
  Result<UniqueFd> OpenMemoryEvents() const;

  const std::string& name() const { return name_; }
  // Directories, for the record and for Landlock.
  std::vector<std::string> Paths() const;
  bool LimitsMemory() const { return memory_limited_; }
  bool LimitsPids() const { return pids_limited_; }
  bool LimitsCpu() const { return cpu_limited_; }
  bool LimitsIo() const { return io_limited_; }
  // "memory: <why>": limits asked for that the host did not let us set.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  struct Place {
    std::string path;
    UniqueFd dir;
    bool v2;
  };
  Result<void> SetLimits(const CgroupHost& host, const CgroupLimits& limits);

  std::string name_;
  std::vector<Place> places_;
  UniqueFd into_fd_;
  std::vector<std::string> missing_;
  bool memory_limited_ = false, pids_limited_ = false, cpu_limited_ = false, io_limited_ = false;
};

}  // namespace msb::sys
