// SPDX-License-Identifier: Apache-2.0
// Where cgroups can be made on this host, and the way of a supervisor out of its caller's cgroup.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/cgroup_mounts.h"
#include "sys/file.h"

namespace msb::sys {
namespace {

constexpr size_t kFileLimit = 1 << 20;
// Of version 1. One thread that moves itself waits for nobody; a whole process, even itself, waits
// for a grace period of RCU (cgroup_procs_write_start(), Linux 5.5).
constexpr const char* kThreadDoor = "tasks";
constexpr const char* kProcessDoor = "cgroup.procs";
constexpr std::string_view kSupervisors = "supervisors";
constexpr std::string_view kSupervisorOfScope = "supervisor";
constexpr const char* kGiveOne = "give a delegated cgroup: --cgroup DIR";
constexpr std::string_view kControllers[] = {"memory", "cpu", "pids"};
constexpr std::string_view kHandedOn[] = {"memory", "cpu", "pids", kDisksV2};

// The thread that asks is the process. One that cannot be told from more counts as more.
bool HasOneThread() {
  auto tasks = OpenAt(Cwd(), "/proc/self/task", O_RDONLY | O_DIRECTORY);
  if (!tasks) return false;
  auto names = ListDirectory(*tasks);
  return names && names->size() == 1;
}

Result<std::string> Mounts() { return ReadFileAt(Cwd(), "/proc/self/mountinfo", 4 << 20); }

// The controllers that a version 2 cgroup may hand on.
std::vector<std::string> OfferedControllers(const std::string& path) {
  auto list = FindFileAt(Cwd(), path + "/cgroup.controllers", kFileLimit);
  if (!list || !*list) return {};
  std::string names = **list;
  while (!names.empty() && names.back() == '\n') names.pop_back();
  return Split(names, ' ');
}

// Version 1 has a directory in each hierarchy: the given one, and those of the same path.
Result<std::vector<CgroupHost::Hierarchy>> SamePathInEach(const std::string& path) {
  std::vector<CgroupHost::Hierarchy> all = CgroupHierarchies(TRY(Mounts()));
  std::erase_if(all, [](const auto& hierarchy) { return hierarchy.v2; });
  auto given = std::find_if(all.begin(), all.end(), [&](const auto& hierarchy) {
    return path == hierarchy.root || path.starts_with(hierarchy.root + "/");
  });
  if (given == all.end())
    return Error(Code::kInvalidArgument,
                 Cat(path, " is in a cgroup hierarchy that limits neither memory, cpu nor pids"))
        .Remedy("give its directory in the hierarchy of one of these");
  std::string beneath = path.substr(given->root.size());
  std::vector<CgroupHost::Hierarchy> found;
  for (CgroupHost::Hierarchy& hierarchy : all) {
    hierarchy.root += beneath;
    if (OpenAt(Cwd(), hierarchy.root, O_PATH | O_DIRECTORY)) found.push_back(std::move(hierarchy));
  }
  return found;
}

Result<CgroupHost> FindDelegated(const std::string& given) {
  UniqueFd dir = TRY(OpenAt(Cwd(), given, O_RDONLY | O_DIRECTORY)
                         .Remedy("give the directory of a cgroup that is yours to divide"));
  struct statfs info {};
  if (::fstatfs(dir.get(), &info) == -1) return Error::Errno(Cat("statfs ", given));
  // As the kernel spells it, without links.
  std::string path = TRY(ReadLinkAt(Cwd(), Cat("/proc/self/fd/", dir.get())));
  CgroupHost host;
  host.way = CgroupHost::Way::kGiven;
  if (info.f_type == CGROUP2_SUPER_MAGIC) {
    host.hierarchies.push_back({path, OfferedControllers(path), true});
  } else if (info.f_type == CGROUP_SUPER_MAGIC) {
    host.hierarchies = TRY(SamePathInEach(path));
  } else {
    return Error(Code::kInvalidArgument, Cat(given, " is not a cgroup"))
        .Remedy("give the directory of a delegated cgroup, as systemd-run -p Delegate=yes makes");
  }
  return host;
}

bool IsOfDisks(const std::string& controller) {
  return controller == kDisksV1 || controller == kDisksV2;
}

// Version 2 offers a controller to children only where the parent says so, one level at a time.
Result<void> EnableControllers(BorrowedFd dir, const CgroupHost::Hierarchy& hierarchy) {
  Result<void> first;
  for (std::string_view controller : kHandedOn) {
    if (!HasController(hierarchy, controller)) continue;
    auto set = WriteCgroupFile(dir, "cgroup.subtree_control", Cat('+', controller));
    if (!set && first) first = std::move(set);
  }
  if (first || first.error().sys_errno() != EBUSY) return first;
  // Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint".
  return Error(Code::kFailedPrecondition,
               Cat(hierarchy.root, " has processes of its own, so it cannot be divided"))
      .Remedy(Cat("move them into a child first: mkdir ", hierarchy.root,
                  "/other, then write their ids to other/cgroup.procs"));
}

}  // namespace

Result<void> WriteCgroupFile(BorrowedFd dir, const std::string& name, std::string_view value) {
  UniqueFd file = TRY(OpenAt(dir, name, O_WRONLY));
  return WriteAll(file, value).Context(Cat("write ", value, " to ", name));
}

std::string OurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy) {
  return host.is_ours_alone() ? hierarchy.root : Cat(hierarchy.root, "/", kOurCgroups);
}

Result<UniqueFd> OpenOurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy) {
  return OpenAt(Cwd(), OurCgroups(host, hierarchy), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Result<UniqueFd> EnsureOurCgroups(const CgroupHost& host, const CgroupHost::Hierarchy& hierarchy,
                                  bool* made) {
  UniqueFd root = TRY(OpenAt(Cwd(), hierarchy.root, O_RDONLY | O_DIRECTORY));
  if (made != nullptr) *made = false;
  if (host.is_ours_alone()) {
    TRY(EnableControllers(root, hierarchy));
    return root;
  }
  auto mkdir = MkdirAt(root, std::string(kOurCgroups), 0755);
  if (!mkdir && mkdir.error().code() != Code::kAlreadyExists)
    return std::move(mkdir).error().Context(hierarchy.root);
  if (made != nullptr) *made = mkdir.ok();
  UniqueFd ours = TRY(OpenOurCgroups(host, hierarchy));
  if (!hierarchy.v2) return ours;
  for (const UniqueFd* dir : {&root, &ours}) {
    auto enabled = EnableControllers(*dir, hierarchy);
    // At the top of the host's own tree a limit that then fails is named; a cgroup that was given
    // and cannot be divided is a mistake.
    if (!enabled && host.way == CgroupHost::Way::kGiven) return std::move(enabled).error();
  }
  return ours;
}

Result<CgroupHost> CgroupHost::Find(std::string_view delegated, Disks disks) {
  if (!delegated.empty()) {
    CgroupHost given = TRY(FindDelegated(std::string(delegated)));
    given.Sort(disks);
    return given;
  }
  if (SystemdOwnsCgroups())
    return Error(Code::kFailedPrecondition, "systemd owns the cgroup tree").Remedy(kGiveOne);
  CgroupHost host;
  host.hierarchies = CgroupHierarchies(TRY(Mounts()));
  for (Hierarchy& hierarchy : host.hierarchies)
    if (hierarchy.v2) hierarchy.controllers = OfferedControllers(hierarchy.root);
  host.Sort(disks);
  std::erase_if(host.hierarchies, [](const Hierarchy& hierarchy) {
    return hierarchy.v2 && std::none_of(std::begin(kHandedOn), std::end(kHandedOn),
                                        [&](auto one) { return HasController(hierarchy, one); });
  });
  if (host.hierarchies.empty())
    return Error(Code::kFailedPrecondition,
                 "no cgroup file system with memory, cpu or pids is mounted");
  return host;
}

void CgroupHost::Sort(Disks disks) {
  if (disks == Disks::kLeaveOut) return LeaveDisksOut();
  // ListOurs() looks in the first, in which a cgroup without limits on disks is too.
  std::stable_partition(hierarchies.begin(), hierarchies.end(), [](const Hierarchy& hierarchy) {
    return hierarchy.v2 ||
           !std::all_of(hierarchy.controllers.begin(), hierarchy.controllers.end(), IsOfDisks);
  });
}

void CgroupHost::LeaveDisksOut() {
  for (Hierarchy& hierarchy : hierarchies) std::erase_if(hierarchy.controllers, IsOfDisks);
  std::erase_if(hierarchies, [](const Hierarchy& hierarchy) {
    return !hierarchy.v2 && hierarchy.controllers.empty();
  });
}

Result<CgroupHost> CgroupHost::OfScope(std::string_view unit) {
  std::vector<Hierarchy> all = CgroupHierarchies(TRY(Mounts()));
  auto v2 = std::find_if(all.begin(), all.end(), [](const auto& one) { return one.v2; });
  std::string now = TRY(ReadFileAt(Cwd(), "/proc/self/cgroup", kFileLimit));
  std::string path = v2 == all.end() ? "" : CgroupPathIn(*v2, now);
  if (!path.ends_with(Cat("/", unit)))
    return Error(Code::kFailedPrecondition,
                 Cat("systemd says that ", unit, " is there, but this process is in ",
                     path.empty() ? "no cgroup" : Escape(path, 200)))
        .Remedy(kGiveOne);
  return AtScope(v2->root + path);
}

Result<CgroupHost> CgroupHost::AtScope(std::string path) {
  UniqueFd dir = TRY(OpenAt(Cwd(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct statfs info {};
  if (::fstatfs(dir.get(), &info) == -1) return Error::Errno(Cat("statfs ", path));
  if (info.f_type != CGROUP2_SUPER_MAGIC)
    return Error(Code::kInvalidArgument, Cat(path, " is no cgroup of version 2"));
  CgroupHost host;
  host.way = Way::kScope;
  std::vector<std::string> controllers = OfferedControllers(path);
  host.hierarchies.push_back({std::move(path), std::move(controllers), true});
  host.LeaveDisksOut();
  return host;
}

bool SystemdOwnsCgroups() {
  struct stat info;
  return ::lstat("/run/systemd/system", &info) == 0 && S_ISDIR(info.st_mode);
}

Result<void> CheckScopesWork() {
  for (const CgroupHost::Hierarchy& hierarchy : CgroupHierarchies(TRY(Mounts()))) {
    if (!hierarchy.v2) continue;
    std::vector<std::string> offered = OfferedControllers(hierarchy.root);
    for (std::string_view controller : kControllers)
      if (std::find(offered.begin(), offered.end(), controller) != offered.end()) return {};
  }
  return Error(Code::kFailedPrecondition,
               "systemd owns the cgroup tree, and its limits are in version 1")
      .Remedy(kGiveOne);
}

Result<void> LeaveCallersCgroup(const CgroupHost& host) {
  std::string now = TRY(ReadFileAt(Cwd(), "/proc/self/cgroup", kFileLimit));
  bool alone = HasOneThread();
  for (const CgroupHost::Hierarchy& hierarchy : host.hierarchies) {
    // The root limits nothing and is nobody's.
    if (host.way == CgroupHost::Way::kPlain && CgroupPathIn(hierarchy, now) == "/") continue;
    bool scope = host.is_ours_alone();
    UniqueFd ours =
        TRY(scope ? OpenOurCgroups(host, hierarchy) : EnsureOurCgroups(host, hierarchy, nullptr));
    std::string name(scope ? kSupervisorOfScope : kSupervisors);
    auto made = MkdirAt(ours, name, 0755);
    if (!made && made.error().code() != Code::kAlreadyExists) return made;
    UniqueFd leaf = TRY(OpenAt(ours, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const char* door = alone && !hierarchy.v2 ? kThreadDoor : kProcessDoor;
    TRY(WriteCgroupFile(leaf, door, "0").Context(hierarchy.root));
  }
  return {};
}

}  // namespace msb::sys
