// SPDX-License-Identifier: Apache-2.0
// Removing what no lock owns.

#include <fcntl.h>

#include <cerrno>

#include "base/text.h"
#include "sandbox/cgroup_name.h"
#include "sandbox/record.h"
#include "sandbox/sandboxes.h"
#include "sys/cgroup.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

constexpr std::string_view kDeadPrefix = ".dead-";

// A record that its user may still want to read: a detached one that came far enough to have one.
Result<bool> IsKept(BorrowedFd sandboxes, const std::string& id) {
  if (TRY(IsAlive(sandboxes, id))) return true;
  auto record = ReadRecord(sandboxes, id);
  // What cannot be read is for nobody: its supervisor may have been taken over.
  return record && *record && (*record)->spec.lifetime == Lifetime::kDetached;
}

// Under the exclusive gate only: nobody is making a record, so a free lock is a dead maker's. The
// slow part, removing the trees, happens after it is given back.
Result<void> SetAsideRecords(BorrowedFd sandboxes, std::vector<std::string>& removed) {
  auto gate = TRY(PassGate(sandboxes, GateMode::kExclusive));
  for (const std::string& name : TRY(sys::ListDirectory(sandboxes))) {
    if (!IsRecordName(name) || TRY(IsKept(sandboxes, name))) continue;
    TRY(sys::RenameAt(sandboxes, name, sandboxes, Cat(kDeadPrefix, name)));
    removed.push_back(Cat("record ", name));
  }
  auto names = sys::OpenAt(sandboxes, kNamesDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!names) return {};
  for (const std::string& name : TRY(sys::ListDirectory(*names))) {
    auto id = sys::ReadLinkAt(*names, name);
    if (id && TRY(sys::FindAt(sandboxes, *id))) continue;
    TRY(sys::UnlinkAt(*names, name));
    removed.push_back(Cat("name ", name));
  }
  return {};
}

Result<void> RemoveDead(BorrowedFd sandboxes) {
  Result<void> first;
  for (const std::string& name : TRY(sys::ListDirectory(sandboxes))) {
    if (!name.starts_with(kDeadPrefix)) continue;
    auto gone = sys::RemoveTreeAt(sandboxes, name);
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

}  // namespace

Result<std::vector<std::string>> CollectGarbage(const Home& home) {
  std::vector<std::string> removed;
  auto sandboxes = sys::OpenAt(home.dir(), kSandboxesDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!sandboxes) {
    if (sandboxes.error().sys_errno() == ENOENT) return removed;
    return std::move(sandboxes).error();
  }
  // What one step cannot remove does not keep the others from theirs.
  auto records = SetAsideRecords(*sandboxes, removed);
  auto dead = RemoveDead(*sandboxes);
  auto cgroups = RemoveCgroups(home, *sandboxes, removed);
  for (auto* step : {&records, &dead, &cgroups})
    if (!*step) return std::move(*step).error();
  return removed;
}

}  // namespace msb::sandbox
