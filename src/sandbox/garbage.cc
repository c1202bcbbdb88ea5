// SPDX-License-Identifier: Apache-2.0
// Removing what no lock owns.

#include <fcntl.h>

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "sandbox/cgroup_name.h"
#include "sandbox/disk.h"
#include "sandbox/record.h"
#include "sandbox/sandboxes.h"
#include "sys/cgroup.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

constexpr const char* kDeadPrefix = ".dead-";
constexpr const char* kCacheDir = "cache";
constexpr auto kGcPatience = std::chrono::seconds(30);
// What a start does beside its own work must not hold it up.
constexpr auto kReconcilePatience = std::chrono::milliseconds(100);

// Cgroups beneath delegated ones and in scopes are not in the tree that we can list: their records
// name them.
struct NamedCgroup {
  RecordedCgroup recorded;
  std::string id;
};

NamedCgroup CgroupOf(const StoredRecord& record, std::string id) {
  return {{record.spec.cgroup, record.state ? record.state->cgroups : std::vector<std::string>()},
          std::move(id)};
}

// Whether the user may still want to read this record: a detached one that came far enough to have
// one. The dead one's cgroup is noted.
Result<bool> IsKept(BorrowedFd sandboxes, const std::string& id,
                    std::vector<NamedCgroup>& cgroups) {
  if (TRY(IsAlive(sandboxes, id))) return true;
  auto record = ReadRecord(sandboxes, id);
  // What cannot be read is for nobody: its supervisor may have been taken over.
  if (!record || !*record || (*record)->spec.lifetime == Lifetime::kAttached) return false;
  auto cgroup = CgroupOf(**record, id);
  if (!IsListed(cgroup.recorded, id)) cgroups.push_back(std::move(cgroup));
  return true;
}

// Under the exclusive gate only: nobody is making a record, so a free lock is a dead maker's. The
// slow part, removing the trees, happens after it is given back.
Result<void> SetAsideRecords(BorrowedFd sandboxes, std::chrono::milliseconds patience,
                             std::vector<NamedCgroup>& cgroups, std::vector<std::string>& removed) {
  auto gate = TRY(PassGate(sandboxes, GateMode::kExclusive, patience));
  for (const std::string& name : TRY(sys::ListDirectory(sandboxes))) {
    if (!IsRecordName(name) || TRY(IsKept(sandboxes, name, cgroups))) continue;
    auto aside = sys::RenameAt(sandboxes, name, sandboxes, Cat(kDeadPrefix, name));
    // A supervisor that has just removed its record's lock removes the directory next.
    if (!aside && aside.error().sys_errno() == ENOENT) continue;
    TRY(std::move(aside));
    removed.push_back(Cat("record ", name));
  }
  auto names = sys::OpenAt(sandboxes, kNamesDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!names) return {};
  for (const std::string& name : TRY(sys::ListDirectory(*names))) {
    auto id = sys::ReadLinkAt(*names, name);
    if (id && TRY(sys::FindAt(sandboxes, *id))) continue;
    auto gone = sys::UnlinkAt(*names, name);
    if (!gone && gone.error().sys_errno() == ENOENT) continue;
    TRY(std::move(gone));
    removed.push_back(Cat("name ", name));
  }
  return {};
}

Result<void> RemoveNamedCgroup(const Home& home, const NamedCgroup& cgroup,
                               std::vector<std::string>& removed) {
  if (TRY(RemoveCgroupOf(home.dir(), cgroup.recorded, cgroup.id)))
    removed.push_back(Cat("cgroup ", CgroupName(home.dir(), cgroup.id)));
  return {};
}

// A record goes after the cgroup that it names.
Result<void> RemoveDeadOne(const Home& home, BorrowedFd sandboxes, const std::string& name,
                           std::vector<std::string>& removed) {
  auto record = ReadRecord(sandboxes, name);
  if (record && *record) {
    auto cgroup = CgroupOf(**record, name.substr(std::string_view(kDeadPrefix).size()));
    if (!IsListed(cgroup.recorded, cgroup.id)) TRY(RemoveNamedCgroup(home, cgroup, removed));
  }
  return sys::RemoveTreeAt(sandboxes, name);
}

Result<void> RemoveDead(const Home& home, BorrowedFd sandboxes, std::vector<std::string>& removed) {
  Result<void> first;
  for (const std::string& name : TRY(sys::ListDirectory(sandboxes))) {
    if (!name.starts_with(kDeadPrefix)) continue;
    auto gone = RemoveDeadOne(home, sandboxes, name, removed);
    if (!gone && first) first = std::move(gone);
  }
  return first;
}

Result<void> RemoveCgroups(const Home& home, BorrowedFd sandboxes,
                           std::vector<std::string>& removed) {
  auto host = sys::CgroupHost::Find("");
  // Where we can make none there are none of ours.
  if (!host) return {};
  Result<void> first;
  for (const std::string& name : TRY(sys::Cgroup::ListOurs(*host))) {
    auto id = IdOfCgroup(home.dir(), name);
    // A record is locked before its cgroup is made.
    if (!id || TRY(IsAlive(sandboxes, *id))) continue;
    auto cgroup = sys::Cgroup::Adopt(*host, name);
    if (!cgroup) continue;
    auto gone = cgroup->Kill();
    if (gone) gone = cgroup->Remove();
    if (gone) removed.push_back(Cat("cgroup ", name));
    if (!gone && first) first = std::move(gone);
  }
  return first;
}

Result<void> RemoveTemplates(const Home& home, std::vector<std::string>& removed) {
  auto cache = sys::OpenAt(home.dir(), kCacheDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!cache) {
    if (cache.error().sys_errno() == ENOENT) return {};
    return std::move(cache).error();
  }
  for (const std::string& name : TRY(CollectTemplates(*cache)))
    removed.push_back(Cat("disk template ", name));
  return {};
}

// What the dead have left in the home and of cgroups.
Result<void> RemoveDeadSandboxes(const Home& home, BorrowedFd sandboxes,
                                 std::chrono::milliseconds patience,
                                 std::vector<std::string>& removed) {
  // What one step cannot remove does not keep the others from theirs.
  std::vector<NamedCgroup> named;
  Result<void> first;
  auto note = [&](Result<void> step) {
    if (!step && first) first = std::move(step);
  };
  note(SetAsideRecords(sandboxes, patience, named, removed));
  note(RemoveDead(home, sandboxes, removed));
  for (const NamedCgroup& cgroup : named) note(RemoveNamedCgroup(home, cgroup, removed));
  note(RemoveCgroups(home, sandboxes, removed));
  return first;
}

// Is there anything that Reconcile() would remove? One look at each lock, no look at a spec.
Result<bool> AnyThrowawayIsDead(BorrowedFd sandboxes) {
  for (const std::string& name : TRY(sys::ListDirectory(sandboxes))) {
    if (name.starts_with(kDeadPrefix)) return true;
    if (!IsRecordName(name)) continue;
    auto lock = sys::OpenAt(sandboxes, Cat(name, "/", kLockFile), O_RDONLY | O_NOFOLLOW);
    // Half made or half removed by somebody who is at it; if he is not, gc sees to it.
    if (!lock) continue;
    if (!TRY(sys::FileLock::IsHeld(*lock)) && !LockSaysKept(TRY(sys::Stat(*lock)))) return true;
  }
  return false;
}

Result<std::optional<UniqueFd>> OpenSandboxes(const Home& home) {
  auto dir = sys::OpenAt(home.dir(), kSandboxesDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (dir) return std::optional(std::move(*dir));
  if (dir.error().sys_errno() == ENOENT) return std::optional<UniqueFd>();
  return std::move(dir).error();
}

}  // namespace

Result<std::vector<std::string>> CollectGarbage(const Home& home) {
  std::vector<std::string> removed;
  Result<void> records;
  if (auto sandboxes = TRY(OpenSandboxes(home)))
    records = RemoveDeadSandboxes(home, *sandboxes, kGcPatience, removed);
  auto templates = RemoveTemplates(home, removed);
  for (auto* step : {&records, &templates})
    if (!*step) return std::move(*step).error();
  return removed;
}

void Reconcile(const Home& home) {
  auto reconcile = [&]() -> Result<void> {
    auto sandboxes = TRY(OpenSandboxes(home));
    if (!sandboxes || !TRY(AnyThrowawayIsDead(*sandboxes))) return {};
    std::vector<std::string> removed;
    return RemoveDeadSandboxes(home, *sandboxes, kReconcilePatience, removed);
  };
  auto done = reconcile();
  if (!done) LOG(kInfo, "left for msb gc", {"why", done.error().message()});
}

}  // namespace msb::sandbox
