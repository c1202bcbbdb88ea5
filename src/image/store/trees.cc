// SPDX-License-Identifier: Apache-2.0
// Root trees: found, made, removed. A tree is a directory that becomes visible by one rename and
// invisible by another, both under images/lock; its own lock says that it is in use.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/text.h"
#include "image/store/layout.h"
#include "image/store/store.h"
#include "sys/file.h"
#include "sys/random.h"

namespace msb::store {
namespace {

// As in store.cc: who looks while gc removes looks again, and then finds none.
constexpr int kAttempts = 4;
// The maker of trees makes none that is deeper.
constexpr int kMaxDepth = 512;

std::string TreePath(const std::string& name) { return Cat(kTrees, "/", name); }

// nullopt: not there, or being removed at this moment.
Result<std::optional<OpenedTree>> TryOpen(BorrowedFd images, const std::string& path) {
  auto opened = sys::OpenAt(images, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened && opened.error().sys_errno() == ENOENT) return std::optional<OpenedTree>();
  UniqueFd dir = TRY(std::move(opened));
  auto file = sys::OpenAt(dir, kTreeLock, O_RDWR | O_NOFOLLOW);
  if (!file && file.error().sys_errno() == ENOENT) return std::optional<OpenedTree>();
  auto lock = sys::FileLock::TryShared(TRY(std::move(file)));
  if (!lock && lock.error().code() == Code::kUnavailable) return std::optional<OpenedTree>();
  UniqueFd held = TRY(std::move(lock)).Release();
  // Its owner and mode are the image's, and may forbid us to look.
  auto root = sys::OpenAt(dir, kTreeRoot, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  // The lock was free because its tree has been set aside.
  struct stat ours = TRY(sys::Stat(dir));
  auto there = TRY(sys::FindAt(images, path));
  if (!there || there->st_ino != ours.st_ino || there->st_dev != ours.st_dev)
    return std::optional<OpenedTree>();
  return std::optional<OpenedTree>({TRY(std::move(root)), std::move(held)});
}

// Modes of an image may forbid their own owner to look or to remove.
void Open(BorrowedFd parent, const std::string& name, const struct stat& info) {
  if ((info.st_mode & S_IRWXU) == S_IRWXU || ::geteuid() == 0) return;
  [[maybe_unused]] int failed = ::fchmodat(parent.get(), name.c_str(), S_IRWXU, 0);
}

void OpenAll(BorrowedFd parent, const std::string& name, int depth) {
  auto found = sys::FindAt(parent, name);
  if (depth > kMaxDepth || !found || !*found || !S_ISDIR((*found)->st_mode)) return;
  Open(parent, name, **found);
  auto dir = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return;
  auto names = sys::ListDirectory(*dir);
  if (!names) return;
  for (const std::string& below : *names) OpenAll(*dir, below, depth + 1);
}

uint64_t BytesOf(BorrowedFd parent, const std::string& name, int depth) {
  auto found = sys::FindAt(parent, name);
  if (depth > kMaxDepth || !found || !*found) return 0;
  // A file with several names counts once, as a share for each.
  auto bytes = static_cast<uint64_t>((*found)->st_blocks) * 512;
  if (!S_ISDIR((*found)->st_mode))
    return bytes / std::max<uint64_t>(1, static_cast<uint64_t>((*found)->st_nlink));
  auto dir = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return bytes;
  auto names = sys::ListDirectory(*dir);
  if (!names) return bytes;
  for (const std::string& below : *names) bytes += BytesOf(*dir, below, depth + 1);
  return bytes;
}

}  // namespace

Result<uint64_t> WorkOnTree(const TreeWorker& worker, std::string_view name,
                            const std::function<Result<uint64_t>()>& work) {
  auto owner = OwnerOfTree(name);
  if (!owner || owner->ids.count == 0) return work();
  if (!worker)
    return Error(Code::kFailedPrecondition, "its files have subordinate ids").Remedy("run: msb gc");
  return worker(owner->ids, work);
}

uint64_t TreeBytes(BorrowedFd parent, const std::string& name) { return BytesOf(parent, name, 0); }

Result<void> RemoveTree(BorrowedFd images, BorrowedFd parent, const std::string& name) {
  UniqueFd temp = TRY(sys::OpenAt(images, kTemp, O_RDONLY | O_DIRECTORY));
  // With the ids of its files: whoever finds it later must know them.
  std::string aside = Cat(sys::RandomId(16), name.substr(std::min(name.find('-'), name.size())));
  auto renamed = sys::RenameAt(parent, name, temp, aside);
  // Whoever it belonged to has removed it.
  if (!renamed && renamed.error().sys_errno() == ENOENT) return {};
  TRY(std::move(renamed));
  if (::geteuid() != 0) OpenAll(temp, aside, 0);
  return sys::RemoveTreeAt(temp, aside);
}

Result<std::optional<OpenedTree>> Store::OpenTree(const Image& image, const TreeIds& ids) const {
  if (!images_) return std::optional<OpenedTree>();
  std::string path = TreePath(TreeName(image.manifest.hex(), ids));
  for (int attempt = 1;; ++attempt) {
    auto tree = TRY(TryOpen(images_, path).Context(Cat("images/", path)));
    if (tree || attempt == kAttempts || !TRY(sys::FindAt(images_, path))) return tree;
  }
}

Result<StagedTree> Store::StageTree(const Image& image, const TreeIds& ids) {
  return StageTreeAs(TreeName(image.manifest.hex(), ids), ids);
}

Result<StagedTree> Store::StageTree(const TreeIds& ids) { return StageTreeAs("", ids); }

Result<StagedTree> Store::StageTreeAs(const std::string& tree_name, const TreeIds& ids) {
  images_ = TRY(EnsureLayout(home_));
  UniqueFd images = TRY(sys::Duplicate(images_));
  UniqueFd temp = TRY(sys::OpenAt(images, kTemp, O_RDONLY | O_DIRECTORY));
  // gc takes an unlocked tree in tmp/ for a dead maker's; it must not look before we have locked.
  auto images_lock = TRY(LockImages(images, LockMode::kShared));
  std::string name = TreeName(sys::RandomId(16), ids);
  TRY(sys::MkdirAt(temp, name, 0700));
  StagedTree staged(std::move(images), name, tree_name, worker_);
  UniqueFd dir = TRY(sys::OpenAt(temp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd file = TRY(sys::OpenAt(dir, kTreeLock, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  // Shared from the start: whoever finds the tree takes it in the moment in which it appears.
  staged.lock_ = TRY(sys::FileLock::TryShared(std::move(file))).Release();
  TRY(sys::MkdirAt(dir, kTreeRoot, 0700));
  staged.root_ = TRY(sys::OpenAt(dir, kTreeRoot, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return staged;
}

StagedTree::~StagedTree() { Discard(); }

void StagedTree::Discard() {
  if (!images_ || temp_name_.empty()) return;
  // Best effort: gc removes what stays.
  if (auto temp = sys::OpenAt(images_, kTemp, O_RDONLY | O_DIRECTORY))
    (void)WorkOnTree(worker_, temp_name_, [&]() -> Result<uint64_t> {
      TRY(RemoveTree(images_, *temp, temp_name_));
      return 0;
    });
  temp_name_.clear();
}

Result<OpenedTree> StagedTree::Share() const {
  UniqueFd root = TRY(sys::Duplicate(root_));
  UniqueFd lock = TRY(sys::Duplicate(lock_));
  return OpenedTree{std::move(root), std::move(lock)};
}

Result<OpenedTree> StagedTree::Commit() && {
  // Thousands of files: one flush of their file system, not one of each.
  if (::syncfs(root_.get()) == -1) return Error::Errno("syncfs");
  auto images_lock = TRY(LockImages(images_, LockMode::kShared));
  UniqueFd temp = TRY(sys::OpenAt(images_, kTemp, O_RDONLY | O_DIRECTORY));
  UniqueFd trees = TRY(sys::OpenAt(images_, kTrees, O_RDONLY | O_DIRECTORY));
  auto renamed = sys::RenameAt(temp, temp_name_, trees, name_, RENAME_NOREPLACE);
  if (!renamed && renamed.error().sys_errno() == EEXIST) {
    // gc waits for us: the other's is not going away.
    auto tree = TRY(TryOpen(images_, TreePath(name_)));
    if (!tree)
      return Error(Code::kDataLoss, Cat("images/", TreePath(name_), ": is no root tree"))
          .Remedy("remove that directory");
    Discard();
    return *std::move(tree);
  }
  TRY(std::move(renamed));
  temp_name_.clear();
  TRY(sys::Sync(trees));
  return OpenedTree{std::move(root_), std::move(lock_)};
}

}  // namespace msb::store
