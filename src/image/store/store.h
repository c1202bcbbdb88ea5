// SPDX-License-Identifier: Apache-2.0
// The images of one home: found by reference, kept by digest.
//
//   $MICROSANDBOX_HOME/images/
//     oci-layout                     {"imageLayoutVersion":"1.0.0"}
//     refs/docker.io+library+alpine:3.20    small JSON: which manifest, config and disk
//     blobs/sha256/<hex>             config and manifest documents
//     disks/sha256/<manifest hex>.erofs
//     trees/sha256/<manifest hex>-<uid>/    {lock, root/}: the disk unpacked, for process sandboxes
//     trees/sha256/<manifest hex>-<uid>-<first uid>-<first gid>-<count>/   the same, TreeIds
//     tmp/                           being written; each file locked by its writer
//     lock                           shared while an image becomes visible, exclusive for gc
//
// A reference is the last thing written and the first removed, so whatever it names is there, and a
// death at any moment leaves at most files that no reference names: garbage, which gc removes.
// Lookups take no lock and scan no directory. An open disk outlives its removal. A tree does not:
// who uses one holds its lock shared, and gc takes only those whose lock it gets exclusive.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/image_config.h"
#include "image/store/reference.h"

namespace msb::store {

struct Image {
  Reference reference;
  Digest manifest;
  Digest config_digest;
  uint64_t disk_bytes = 0;
  std::chrono::sys_seconds stored_at;  // When this home got it.
  ImageConfig config;
};

// A reference file that cannot be read as one: named, so that it can be removed.
struct BrokenReference {
  std::string name;  // As the reference would be spelled out; what RemoveBroken takes.
  Error error;
};

struct ImageList {
  std::vector<Image> images;  // By reference.
  std::vector<BrokenReference> broken;
};

struct OpenedImage {
  Image image;
  UniqueFd disk;  // Read-only, a regular file of image.disk_bytes.
};

struct Garbage {
  struct Item {
    std::string path;    // Below images/.
    uint64_t bytes = 0;  // Of disk space; given back when the last sandbox using it ends.
  };
  // What is garbage and could not be removed.
  struct Left {
    std::string path;
    Error error;
  };
  std::vector<Item> items;
  std::vector<Left> left;
  uint64_t bytes = 0;
};

enum class GarbageMode : uint8_t { kRemove, kOnlyReport };

// The documents of an image that is about to be stored, with the digests that its maker computed.
struct ImageDocuments {
  Digest config_digest;
  std::string config;
  Digest manifest_digest;
  std::string manifest;
};

// Where the disk of a staged image is while it is written.
enum class StagingMode : uint8_t {
  kUnnamed,  // O_TMPFILE: a writer's death leaves nothing. kNamed where the file system has none.
  kNamed,
};

// Of an ordinary user's root tree the ids that its files may have beside his own: a user namespace
// shows them as 1 and on. None (count 0): all files are its maker's, or root has made it and their
// owners are the image's numbers.
struct TreeIds {
  uint32_t first_uid = 0, first_gid = 0, count = 0;

  bool operator==(const TreeIds&) const = default;
};

// Does `work`, which answers a number, where files of those ids can be looked into and removed: how
// that is done is not the store's matter. The user himself can do neither.
using TreeWorker = std::function<Result<uint64_t>(const TreeIds& ids,
                                                  const std::function<Result<uint64_t>()>& work)>;

// A root tree in use.
struct OpenedTree {
  UniqueFd root;  // Directory, perhaps O_PATH; nothing in it is ever changed.
  UniqueFd lock;  // As long as this description is open, gc leaves the tree alone.
};

class Store;

// A root tree on its way in. Destroyed or killed before Commit, it leaves nothing that gc would not
// remove.
class StagedTree {
 public:
  StagedTree(StagedTree&&) noexcept = default;
  StagedTree& operator=(StagedTree&&) = delete;
  ~StagedTree();

  // An empty directory, for the tree.
  BorrowedFd root() const { return root_; }

  // Makes it durable, then visible. Where another was faster, that one is taken and ours goes.
  Result<OpenedTree> Commit() &&;
  // For a tree that is never committed: it is used where it was staged. Whoever holds the lock
  // keeps it there, also beyond our end.
  Result<OpenedTree> Share() const;
  // Not removed by our end: whoever holds the lock uses it, and then RemoveDeadTrees() finds it.
  void Leave() && { temp_name_.clear(); }

 private:
  friend class Store;
  StagedTree(UniqueFd images, std::string temp_name, std::string name, TreeWorker worker)
      : images_(std::move(images)),
        temp_name_(std::move(temp_name)),
        name_(std::move(name)),
        worker_(std::move(worker)) {}
  void Discard();

  UniqueFd images_, root_, lock_;
  std::string temp_name_;  // In tmp/; empty when it is there no more.
  std::string name_;       // In trees/.
  TreeWorker worker_;
};

// An image on its way in. Invisible until Commit; destroyed or killed before that, it leaves
// nothing that gc would not remove.
class StagedImage {
 public:
  StagedImage(StagedImage&&) noexcept = default;
  StagedImage& operator=(StagedImage&&) = delete;
  ~StagedImage();

  // An empty regular file, open for reading and writing, for the root disk.
  BorrowedFd disk() const { return disk_; }

  // Makes disk and documents durable, then the reference. Replaces what the reference named; the
  // replaced image becomes garbage when no other reference names it.
  Result<Image> Commit(const Reference& reference, const ImageDocuments& documents,
                       std::chrono::sys_seconds now) &&;

 private:
  friend class Store;
  StagedImage(UniqueFd images, UniqueFd disk, std::string temp_name)
      : images_(std::move(images)), disk_(std::move(disk)), temp_name_(std::move(temp_name)) {}
  Result<void> PublishDisk(const Digest& manifest);

  UniqueFd images_;
  UniqueFd disk_;
  std::string temp_name_;  // In tmp/; empty while the file has no name (O_TMPFILE).
};

class Store {
 public:
  // `home` is $MICROSANDBOX_HOME. Makes nothing: a home without images is an empty store. Without a
  // worker, trees of more ids than the caller's are left where they are.
  static Result<Store> Open(BorrowedFd home, TreeWorker worker = nullptr);

  // The way of every run: two small files are read.
  Result<std::optional<Image>> Find(const Reference& reference) const;

  // Read-only. Missing, or not the file that was stored: an error with a remedy.
  Result<UniqueFd> OpenRootDisk(const Image& image) const;

  // Find and OpenRootDisk as one, also while another process replaces the image.
  Result<std::optional<OpenedImage>> OpenImage(const Reference& reference) const;

  // The image's root tree as this user can run it with these ids, if it is there.
  Result<std::optional<OpenedTree>> OpenTree(const Image& image, const TreeIds& ids = {}) const;
  // Makes the directories of images/ if need be.
  Result<StagedTree> StageTree(const Image& image, const TreeIds& ids = {});
  // The same for a tree that belongs to no image; not for Commit().
  Result<StagedTree> StageTree(const TreeIds& ids = {});
  // Staged trees whose maker and users are gone, without the whole of CollectGarbage(): some system
  // calls when there are none.
  Result<void> RemoveDeadTrees();

  Result<ImageList> List() const;

  // Removes the reference; false when there was none. Blobs and disk stay until CollectGarbage,
  // and a sandbox that has the disk open keeps it until it ends.
  Result<bool> Remove(const Reference& reference);
  // The same for the name of a BrokenReference, which need not be a well-formed reference.
  Result<bool> RemoveBroken(const std::string& text);

  // Whatever no reference names and no sandbox uses, and what dead writers left. Waits for commits
  // in progress, and removes nothing while a reference cannot be read: what it named is not known.
  // `ids`: what this user's trees are made with, where that is known; his of other ids go as well.
  Result<Garbage> CollectGarbage(GarbageMode mode = GarbageMode::kRemove,
                                 const std::optional<TreeIds>& ids = std::nullopt);

  // Makes the directories of images/ if need be.
  Result<StagedImage> Stage(StagingMode mode = StagingMode::kUnnamed);

 private:
  Result<StagedTree> StageTreeAs(const std::string& name, const TreeIds& ids);
  Store(UniqueFd home, UniqueFd images, TreeWorker worker)
      : home_(std::move(home)), images_(std::move(images)), worker_(std::move(worker)) {}
  // sys_errno() is ENOENT when there is no such reference.
  Result<Image> Load(const std::string& ref_name) const;
  Result<Image> LoadOnce(const std::string& ref_name) const;

  UniqueFd home_;
  UniqueFd images_;  // Not open while there is no images/ directory.
  TreeWorker worker_;
};

}  // namespace msb::store
