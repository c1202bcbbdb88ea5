// SPDX-License-Identifier: Apache-2.0
// The file tree of a root disk while it is being put together: names, attributes and where each
// content lies. It knows no file system: entries come in by path, in the order of the input.
//
// Paths. Leading "/" and "./" are dropped and doubled slashes are one, as tar does. ".." is
// refused. Parents that are symlinks are followed inside the tree, as a chroot would (a layer that
// ships lib/x for an image whose lib is a link to usr/lib means usr/lib/x); an absolute target
// starts at the tree's root and ".." stops there. Parents that are missing are made, root's, 0755.
//
// A later entry replaces an earlier one of the same path; a directory on a directory keeps the
// children. Hard links name an earlier file. In layers, ".wh.NAME" removes what lower layers had at
// NAME and ".wh..wh..opq" what they had in its directory; both leave alone what their own layer
// brings, whatever the order in the archive.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/rootfs/root_disk.h"

namespace msb::rootfs {

struct Xattr {
  std::string name;  // Whole, as in "security.capability".
  std::string value;

  friend bool operator==(const Xattr&, const Xattr&) = default;
};

enum class FileKind : uint8_t {
  kRegular,
  kDirectory,
  kSymlink,
  kCharacter,
  kBlock,
  kFifo,
  kSocket,
};

struct Attributes {
  uint32_t permissions = 0;  // The low 12 bits of a mode.
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime_nsec = 0;
  int64_t mtime = 0;
  std::vector<Xattr> xattrs;
};

// A sparse file's map: chunks of 4096 << chunk_bits bytes; those not in a run are holes.
struct ChunkRun {
  uint64_t first_chunk;
  uint64_t chunks;
  uint32_t start_block;
};
struct ChunkMap {
  uint32_t chunk_bits = 0;
  std::vector<ChunkRun> runs;
};

// Where a regular file's bytes are: in `small` (all of them), in consecutive blocks, or in chunks.
struct Content {
  uint64_t size = 0;
  uint32_t start_block = 0;
  std::string small;
  std::unique_ptr<ChunkMap> chunks;
};

using InodeIndex = uint32_t;

struct Inode {
  struct Child {
    InodeIndex inode;
    uint16_t layer;
  };
  using Children = std::map<std::string, Child, std::less<>>;

  FileKind kind = FileKind::kRegular;
  uint32_t links = 0;  // Names; 0 when nothing in the tree names it any more.
  uint32_t permissions = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime_nsec = 0;
  int64_t mtime = 0;
  uint32_t device = 0;  // As erofs::PackDevice.
  Content content;      // A symlink's target is content.small.
  std::unique_ptr<std::vector<Xattr>> xattrs;
  std::unique_ptr<Children> children;  // Directories only.
};

class Tree {
 public:
  explicit Tree(const RootDiskLimits& limits);

  // What Add needs besides the path.
  struct Entry {
    FileKind kind = FileKind::kRegular;
    Attributes attributes;
    uint32_t device = 0;
    Content content;
  };
  Result<InodeIndex> Add(std::string_view path, Entry entry);
  Result<void> Link(std::string_view path, std::string_view target);
  // For a walker that knows which inode a name belongs to.
  Result<void> LinkInode(std::string_view path, InodeIndex target);

  // Entries from here on belong to the next layer up.
  Result<void> BeginLayer();
  // If `path` is a whiteout, applies it and says true.
  Result<bool> ApplyWhiteout(std::string_view path);

  static constexpr InodeIndex kRoot = 0;
  const std::deque<Inode>& inodes() const { return inodes_; }
  uint64_t overwritten_bytes() const { return overwritten_bytes_; }

 private:
  struct Place {
    InodeIndex parent;
    std::string_view name;  // Empty: the root itself.
  };
  enum class Missing : uint8_t { kFail, kMakeDirectories };
  Result<Place> Resolve(std::string_view path, Missing missing, int64_t mtime);
  Result<InodeIndex> NewInode(Entry entry);
  Result<void> Attach(const Place& place, InodeIndex inode);
  Result<void> SetAttributes(Inode& inode, Attributes attributes);
  void Drop(InodeIndex inode);
  bool PruneLower(InodeIndex directory);
  Result<void> Spend(uint64_t bytes);

  RootDiskLimits limits_;
  std::deque<Inode> inodes_;  // Never moves an inode: paths are views into symlink targets.
  uint64_t names_ = 0;
  uint64_t memory_ = 0;
  uint64_t overwritten_bytes_ = 0;
  uint16_t layer_ = 0;
};

// The components of a path as above; refuses "..", NUL, and what is too long. "" and "." give none.
Result<std::vector<std::string_view>> SplitPath(std::string_view path,
                                                const RootDiskLimits& limits);

}  // namespace msb::rootfs
