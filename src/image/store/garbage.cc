// SPDX-License-Identifier: Apache-2.0
// Garbage collection: what is there less what the references name.
#include <cerrno>
#include <functional>
#include <optional>
#include <set>

#include "base/text.h"
#include "image/store/layout.h"
#include "image/store/store.h"
#include "sys/file.h"

namespace msb::store {
namespace {

// True when the file is to stay.
using Keep = std::function<Result<bool>(BorrowedFd dir, const std::string& name)>;

class Collector {
 public:
  Collector(BorrowedFd images, GarbageMode mode, const TreeWorker& worker)
      : images_(images), mode_(mode), worker_(worker) {}

  Result<void> Sweep(const char* directory, const Keep& keep) {
    UniqueFd dir = TRY(sys::OpenAt(images_, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    for (const std::string& name : TRY(sys::ListDirectory(dir)))
      if (!TRY(keep(dir, name)))
        TRY(Drop(dir, name, Cat(directory, "/", name)).Context("collect garbage"));
    return {};
  }

  // Trees that no reference names, or that no run takes any more, and nobody uses.
  Result<void> SweepTrees(const std::set<std::string, std::less<>>& manifests,
                          const std::optional<TreeIds>& ids) {
    auto is_old = [&](const std::string& name) {
      auto owner = OwnerOfTree(name);
      return ids && owner && owner->uid == ::geteuid() && owner->ids != *ids;
    };
    UniqueFd dir = TRY(sys::OpenAt(images_, kTrees, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    for (const std::string& name : TRY(sys::ListDirectory(dir)))
      if (!manifests.contains(ManifestOfTree(name)) || is_old(name))
        TRY(DropTree(dir, name, kTrees));
    return {};
  }

  // Trees in tmp/ whose maker, or remover, has died.
  Result<void> SweepStagedTrees() {
    UniqueFd dir = TRY(sys::OpenAt(images_, kTemp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    for (const std::string& name : TRY(sys::ListDirectory(dir))) {
      auto found = TRY(sys::FindAt(dir, name));
      if (found && S_ISDIR(found->st_mode)) TRY(DropTree(dir, name, kTemp));
    }
    return {};
  }

  Garbage Take() && { return std::move(garbage_); }

 private:
  Result<void> Drop(BorrowedFd dir, const std::string& name, std::string path) {
    auto found = TRY(sys::FindAt(dir, name));
    if (!found || S_ISDIR(found->st_mode)) return {};  // Not of our making: not ours to remove.
    if (mode_ == GarbageMode::kRemove) TRY(sys::UnlinkAt(dir, name));
    auto bytes = static_cast<uint64_t>(found->st_blocks) * 512;
    garbage_.items.push_back({std::move(path), bytes});
    garbage_.bytes += bytes;
    return {};
  }

  Result<void> DropTree(BorrowedFd dir, const std::string& name, const char* where) {
    auto file = sys::OpenAt(dir, Cat(name, "/", kTreeLock), O_RDWR | O_NOFOLLOW);
    std::optional<sys::FileLock> lock;
    if (file) {
      auto taken = sys::FileLock::TryExclusive(*std::move(file));
      if (!taken && taken.error().code() == Code::kUnavailable) return {};
      lock = TRY(std::move(taken));
    } else if (file.error().sys_errno() != ENOENT) {
      return {};  // Not of our making: not ours to remove.
    }
    auto bytes = WorkOnTree(worker_, name, [&]() -> Result<uint64_t> {
      uint64_t count = TreeBytes(dir, name);
      if (mode_ == GarbageMode::kRemove) TRY(RemoveTree(images_, dir, name));
      return count;
    });
    std::string path = Cat(where, "/", name);
    // One whose ids are the user's no more is no reason to keep the others.
    if (auto owner = OwnerOfTree(name); !bytes && owner && owner->ids.count != 0) {
      garbage_.left.push_back({std::move(path), std::move(bytes).error()});
      return {};
    }
    uint64_t freed = TRY(std::move(bytes).Context("collect garbage"));
    garbage_.bytes += freed;
    garbage_.items.push_back({std::move(path), freed});
    return {};
  }

  BorrowedFd images_;
  GarbageMode mode_;
  const TreeWorker& worker_;
  Garbage garbage_;
};

// A file in tmp/ whose writer lives is locked by it.
Result<bool> WriterLives(BorrowedFd dir, const std::string& name) {
  auto found = TRY(sys::FindAt(dir, name));
  if (found && S_ISDIR(found->st_mode)) return true;  // A tree: SweepStagedTrees().
  auto file = sys::OpenAt(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file && (file.error().sys_errno() == ENOENT || file.error().sys_errno() == ELOOP))
    return false;
  UniqueFd fd = TRY(std::move(file));
  return sys::FileLock::IsHeld(fd);
}

// A directory in tmp/ whose lock nobody holds.
Result<bool> AnyTreeMayBeDead(BorrowedFd images) {
  auto temp = sys::OpenAt(images, kTemp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!temp) return false;
  for (const std::string& name : TRY(sys::ListDirectory(*temp))) {
    auto found = TRY(sys::FindAt(*temp, name));
    if (!found || !S_ISDIR(found->st_mode)) continue;
    auto lock = sys::OpenAt(*temp, Cat(name, "/", kTreeLock), O_RDONLY | O_NOFOLLOW);
    // Without one it is half made or half removed by somebody who is at it; if he is not, gc sees
    // to it.
    if (lock && !TRY(sys::FileLock::IsHeldOrShared(*lock))) return true;
  }
  return false;
}

}  // namespace

Result<void> Store::RemoveDeadTrees() {
  if (!images_ || !TRY(AnyTreeMayBeDead(images_))) return {};
  // Makers hold it between the directory and its lock.
  auto lock = TRY(LockImages(images_, LockMode::kExclusive));
  Collector collector(images_, GarbageMode::kRemove, worker_);
  TRY(collector.SweepStagedTrees());
  Garbage garbage = std::move(collector).Take();
  if (!garbage.left.empty()) return std::move(garbage.left.front().error);
  return {};
}

Result<Garbage> Store::CollectGarbage(GarbageMode mode, const std::optional<TreeIds>& ids) {
  if (!images_) return Garbage();
  images_ = TRY(EnsureLayout(home_));
  auto lock = TRY(LockImages(images_, LockMode::kExclusive));
  ImageList list = TRY(List());
  if (!list.broken.empty())
    return Error(Code::kFailedPrecondition,
                 Cat("collect garbage: what ", list.broken.front().name,
                     " needs is not known: ", list.broken.front().error.message()))
        .Remedy(Cat("run: msb image remove '", list.broken.front().name, "'"));
  std::set<std::string> blobs, disks;
  std::set<std::string, std::less<>> manifests;
  for (const Image& image : list.images) {
    blobs.insert({image.config_digest.hex(), image.manifest.hex()});
    disks.insert(image.manifest.hex() + kDiskSuffix);
    manifests.emplace(image.manifest.hex());
  }
  auto in = [](const std::set<std::string>& names) -> Keep {
    return [&names](BorrowedFd, const std::string& name) { return names.contains(name); };
  };
  Collector collector(images_, mode, worker_);
  // The lock says that no commit is on its way, so a file of an unfinished replacement is dead.
  TRY(collector.Sweep(kRefs, [](BorrowedFd, const std::string& name) -> Result<bool> {
    return !name.starts_with('.');
  }));
  TRY(collector.Sweep(kDisks, in(disks)));
  TRY(collector.Sweep(kBlobs, in(blobs)));
  TRY(collector.Sweep(kTemp, WriterLives));
  TRY(collector.SweepStagedTrees());
  TRY(collector.SweepTrees(manifests, ids));
  return std::move(collector).Take();
}

}  // namespace msb::store
