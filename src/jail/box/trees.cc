// SPDX-License-Identifier: Apache-2.0
// A tree for each planned bind, in their order, after the root's.

#include "jail/box/trees.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
#include "jail/box/mount_table.h"
#include "sys/file.h"
#include "sys/mount.h"

namespace msb::box {
namespace {

constexpr size_t kMaxMountInfo = 4 << 20;
constexpr const char* kMappingRemedy =
    "use a directory on ext4, xfs, btrfs or tmpfs, or --userns host";

Result<UniqueFd> Open(const std::string& path, bool recursive) {
  UniqueFd tree(sys::RawOpenTree(AT_FDCWD, path.c_str(), recursive));
  int err = errno;
  if (!tree)
    return Error::Errno(Cat("open ", path), err)
        .Remedy(err == EPERM ? "root without CAP_SYS_ADMIN cannot copy mounts: in a container, "
                               "run it with --privileged"
                             : "");
  return tree;
}

// "/" without what is mounted below it, and each of those mounts alone: one that cannot map ids
// does not forbid the others. What goes away meanwhile is not there.
Result<void> OpenHostTree(Prepared& prepared) {
  prepared.trees.push_back(TRY(Open("/", false)));
  std::string table = TRY(sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", kMaxMountInfo));
  std::vector<std::string> places = HostMounts(ParseMountInfo(table));
  prepared.sources.reserve(places.size());
  for (std::string& place : places) {
    struct stat info;
    auto tree = Open(place, false);
    if (!tree || ::fstat(tree->get(), &info) == -1) continue;
    prepared.trees.push_back(std::move(*tree));
    prepared.sources.push_back(std::move(place));
    const char* source = prepared.sources.back().c_str();
    prepared.binds.push_back({.source = source,
                              .target = source + 1,
                              .directory = S_ISDIR(info.st_mode),
                              .writable = true,
                              .sent = true});
  }
  if (prepared.trees.size() > kMaxSentTrees)
    return Error(Code::kFailedPrecondition,
                 Cat("the host has more than ", kMaxSentTrees, " mounts"))
        .Remedy("--userns host, or a directory as the root");
  return {};
}

Error Refused(std::string_view what) {
  return Error(Code::kFailedPrecondition,
               Cat(what, ": its file system, or one mounted in it, cannot map ids"));
}

}  // namespace

Result<void> OpenTrees(const Spec& spec, Prepared& prepared) {
  if (spec.root == RootKind::kHost) TRY(OpenHostTree(prepared));
  if (spec.root == RootKind::kDirectory)
    prepared.trees.push_back(TRY(Open(spec.root_directory, true)));
  for (const Bind& bind : spec.binds) prepared.trees.push_back(TRY(Open(bind.source, true)));
  for (PlannedBind& bind : prepared.binds) bind.sent = true;
  prepared.plan.root_sent = spec.root != RootKind::kEmpty;
  prepared.plan.binds = prepared.binds;
  return {};
}

Result<void> MapTrees(const Spec& spec, int init, Prepared& prepared,
                      std::vector<std::string>& unmapped) {
  UniqueFd users = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", init, "/ns/user"), O_RDONLY));
  size_t next = 0;
  auto map = [&]() -> Result<bool> {
    if (sys::RawMapMountIds(prepared.trees[next++].get(), users.get(), true) == 0) return true;
    if (errno == EINVAL) return false;
    return Error::Errno("mount_setattr with an ID map");
  };
  if (prepared.plan.root_sent) {
    std::string root = spec.root == RootKind::kHost ? "/" : spec.root_directory;
    if (!TRY(map().Context(root))) return Refused(Cat("root ", root)).Remedy(kMappingRemedy);
  }
  for (const PlannedBind& bind : prepared.binds) {
    if (TRY(map().Context(bind.source))) continue;
    bool asked = prepared.sources.empty();
    if (asked && bind.writable)
      return Refused(Cat("bind ", bind.source))
          .Remedy("bind it read-only, use another file system, or --userns host");
    if (sys::RawSetMountAttributes(prepared.trees[next - 1].get(), sys::kMountReadOnly, true) == -1)
      return Error::Errno(Cat("seal ", bind.source));
    unmapped.emplace_back(bind.source);
  }
  return {};
}

}  // namespace msb::box
