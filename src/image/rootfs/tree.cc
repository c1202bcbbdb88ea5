// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/tree.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "image/rootfs/erofs_format.h"

namespace msb::rootfs {
namespace {

constexpr int kMaxFollowedSymlinks = 40;  // The kernel's MAXSYMLINKS.
// Bounds every recursion over the tree; a path of PATH_MAX bytes cannot name anything deeper.
constexpr size_t kMaxDepth = 2048;
// What the maps and the allocator add to a name, about.
constexpr uint64_t kNameOverhead = 96;

Error Invalid(std::string message) { return Error(Code::kInvalidArgument, std::move(message)); }

// Puts the components of `path` on the stack `todo`, the first one on top.
void PushComponents(std::string_view path, std::vector<std::string_view>& todo) {
  size_t end = path.size();
  while (end > 0) {
    size_t slash = path.rfind('/', end - 1);
    size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    std::string_view part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") todo.push_back(part);
    if (begin == 0) break;
    end = begin - 1;
  }
}

}  // namespace

Result<std::vector<std::string_view>> SplitPath(std::string_view path,
                                                const RootDiskLimits& limits) {
  if (path.size() > limits.path_bytes)
    return Error(Code::kResourceExhausted, Cat("path longer than ", limits.path_bytes, " bytes"));
  if (path.find('\0') != std::string_view::npos) return Invalid("path with a NUL byte");
  std::vector<std::string_view> parts;
  PushComponents(path, parts);
  std::reverse(parts.begin(), parts.end());
  for (std::string_view part : parts) {
    if (part == "..") return Invalid("path with \"..\" refused");
    if (part.size() > erofs::kMaxName) return Invalid("name longer than 255 bytes");
  }
  return parts;
}

Tree::Tree(const RootDiskLimits& limits) : limits_(limits) {
  Inode root;
  root.kind = FileKind::kDirectory;
  root.links = 1;
  root.permissions = 0755;
  root.children = std::make_unique<Inode::Children>();
  inodes_.push_back(std::move(root));
}

Result<void> Tree::Spend(uint64_t bytes) {
  memory_ += bytes;
  if (memory_ > limits_.memory_bytes)
    return Error(Code::kResourceExhausted,
                 Cat("the tree takes more than ", limits_.memory_bytes, " bytes of memory"));
  return {};
}

Result<void> Tree::BeginLayer() {
  if (layer_ == UINT16_MAX) return Error(Code::kResourceExhausted, "more than 65535 layers");
  ++layer_;
  return {};
}

Result<Tree::Place> Tree::Resolve(std::string_view path, Missing missing, int64_t mtime) {
  std::vector<std::string_view> todo = TRY(SplitPath(path, limits_));
  if (todo.empty()) return Place{kRoot, {}};
  std::string_view last = todo.back();
  todo.pop_back();
  std::reverse(todo.begin(), todo.end());

  std::vector<InodeIndex> way{kRoot};
  int followed = 0;
  while (!todo.empty()) {
    std::string_view part = todo.back();
    todo.pop_back();
    if (part == "..") {  // Only from a symlink's target.
      if (way.size() > 1) way.pop_back();
      continue;
    }
    Inode::Children& children = *inodes_[way.back()].children;
    auto found = children.find(part);
    if (found == children.end()) {
      if (missing == Missing::kFail)
        return Error(Code::kNotFound, Cat("no directory \"", Escape(part), "\""));
      if (part.size() > erofs::kMaxName) return Invalid("symlink target with an overlong name");
      Entry directory{.kind = FileKind::kDirectory,
                      .attributes = {.permissions = 0755, .mtime = mtime}};
      InodeIndex made = TRY(NewInode(std::move(directory)));
      TRY(Attach({way.back(), part}, made));
      way.push_back(made);
    } else if (const Inode& inode = inodes_[found->second.inode];
               inode.kind == FileKind::kSymlink) {
      if (++followed > kMaxFollowedSymlinks) return Invalid("too many symlinks on the way");
      if (inode.content.small.starts_with('/')) way.resize(1);
      PushComponents(inode.content.small, todo);
    } else if (inode.kind == FileKind::kDirectory) {
      way.push_back(found->second.inode);
    } else {
      return Invalid(Cat("\"", Escape(part), "\" on the way is not a directory"));
    }
    if (way.size() > kMaxDepth)
      return Error(Code::kResourceExhausted, Cat("deeper than ", kMaxDepth, " directories"));
  }
  return Place{way.back(), last};
}

Result<void> Tree::SetAttributes(Inode& inode, Attributes attributes) {
  inode.permissions = attributes.permissions & 07777;
  inode.uid = attributes.uid;
  inode.gid = attributes.gid;
  inode.mtime = attributes.mtime;
  inode.mtime_nsec = attributes.mtime_nsec;
  inode.xattrs.reset();
  if (attributes.xattrs.empty()) return {};

  // Canonical order, and the last of equals wins, as setxattr would have it.
  std::map<std::string, std::string> sorted;
  for (Xattr& xattr : attributes.xattrs)
    sorted.insert_or_assign(std::move(xattr.name), std::move(xattr.value));
  std::vector<Xattr> xattrs;
  xattrs.reserve(sorted.size());
  for (auto& [name, value] : sorted) xattrs.push_back({name, std::move(value)});
  uint64_t bytes = 0;
  for (const Xattr& xattr : xattrs) bytes += xattr.name.size() + xattr.value.size();
  if (bytes > limits_.xattr_bytes)
    return Error(Code::kResourceExhausted,
                 Cat("extended attributes of more than ", limits_.xattr_bytes, " bytes"));
  TRY(Spend(bytes + xattrs.size() * sizeof(Xattr)));
  inode.xattrs = std::make_unique<std::vector<Xattr>>(std::move(xattrs));
  return {};
}

Result<InodeIndex> Tree::NewInode(Entry entry) {
  Inode inode;
  inode.kind = entry.kind;
  inode.device = entry.device;
  inode.content = std::move(entry.content);
  uint64_t bytes = sizeof(Inode) + inode.content.small.size();
  if (inode.content.chunks) bytes += inode.content.chunks->runs.size() * sizeof(ChunkRun);
  if (inode.kind == FileKind::kDirectory) {
    inode.children = std::make_unique<Inode::Children>();
    bytes += sizeof(Inode::Children);
  }
  TRY(Spend(bytes));
  TRY(SetAttributes(inode, std::move(entry.attributes)));
  inodes_.push_back(std::move(inode));
  return static_cast<InodeIndex>(inodes_.size() - 1);
}

Result<void> Tree::Attach(const Place& place, InodeIndex inode) {
  if (++names_ > limits_.entries)
    return Error(Code::kResourceExhausted, Cat("more than ", limits_.entries, " entries"));
  TRY(Spend(place.name.size() + kNameOverhead));
  Inode::Children& children = *inodes_[place.parent].children;
  ++inodes_[inode].links;
  auto found = children.find(place.name);
  if (found == children.end()) {
    children.emplace(std::string(place.name), Inode::Child{inode, layer_});
  } else {
    InodeIndex old = std::exchange(found->second.inode, inode);
    found->second.layer = layer_;
    Drop(old);
  }
  return {};
}

Result<InodeIndex> Tree::Add(std::string_view path, Entry entry) {
  Place place = TRY(Resolve(path, Missing::kMakeDirectories, entry.attributes.mtime));
  if (entry.kind == FileKind::kSymlink) {
    const std::string& target = entry.content.small;
    if (target.empty()) return Invalid("symlink to nothing");
    if (target.size() >= limits_.path_bytes || target.size() >= erofs::kBlockSize)
      return Error(Code::kResourceExhausted, "symlink target too long");
    if (target.find('\0') != std::string::npos) return Invalid("symlink target with a NUL byte");
  }
  if (entry.kind == FileKind::kDirectory) {
    InodeIndex same = kRoot;
    if (!place.name.empty()) {
      Inode::Children& children = *inodes_[place.parent].children;
      auto found = children.find(place.name);
      if (found != children.end() && inodes_[found->second.inode].children) {
        same = found->second.inode;
        found->second.layer = layer_;
      }
    }
    if (place.name.empty() || same != kRoot) {
      TRY(SetAttributes(inodes_[same], std::move(entry.attributes)));
      return same;
    }
  } else if (place.name.empty()) {
    return Invalid("the root can only be a directory");
  }
  InodeIndex inode = TRY(NewInode(std::move(entry)));
  TRY(Attach(place, inode));
  return inode;
}

Result<void> Tree::Link(std::string_view path, std::string_view target) {
  auto missing = [&] {
    return Error(Code::kInvalidArgument,
                 Cat("hard link to \"", Escape(target), "\", which is not in the tree"));
  };
  Result<Place> place = Resolve(target, Missing::kFail, 0);
  if (!place && place.error().code() == Code::kNotFound) return missing();
  if (!place) return std::move(place).Context(Cat("hard link to \"", Escape(target), "\"")).error();
  if (place->name.empty()) return Invalid("hard link to the root");
  const Inode::Children& children = *inodes_[place->parent].children;
  auto found = children.find(place->name);
  if (found == children.end()) return missing();
  return LinkInode(path, found->second.inode);
}

Result<void> Tree::LinkInode(std::string_view path, InodeIndex target) {
  if (inodes_[target].kind == FileKind::kDirectory) return Invalid("hard link to a directory");
  Place place = TRY(Resolve(path, Missing::kMakeDirectories, inodes_[target].mtime));
  if (place.name.empty()) return Invalid("the root can only be a directory");
  Inode::Children& children = *inodes_[place.parent].children;
  auto found = children.find(place.name);
  if (found != children.end() && found->second.inode == target) {
    found->second.layer = layer_;
    return {};
  }
  // Making the parents may have replaced nothing, so the target still has its name.
  return Attach(place, target);
}

void Tree::Drop(InodeIndex first) {
  std::vector<InodeIndex> todo{first};
  while (!todo.empty()) {
    Inode& inode = inodes_[todo.back()];
    todo.pop_back();
    if (--inode.links != 0) continue;
    if (inode.kind == FileKind::kRegular && inode.content.small.empty())
      overwritten_bytes_ += inode.content.size;
    inode.content = {};
    inode.xattrs.reset();
    if (!inode.children) continue;
    for (const auto& [name, child] : *inode.children) todo.push_back(child.inode);
    inode.children->clear();
  }
}

bool Tree::PruneLower(InodeIndex directory) {
  Inode::Children& children = *inodes_[directory].children;
  for (auto it = children.begin(); it != children.end();) {
    const Inode& child = inodes_[it->second.inode];
    bool keep = it->second.layer == layer_;
    if (child.kind == FileKind::kDirectory) keep |= PruneLower(it->second.inode);
    if (keep) {
      ++it;
      continue;
    }
    Drop(it->second.inode);
    it = children.erase(it);
  }
  return !children.empty();
}

Result<bool> Tree::ApplyWhiteout(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (!name.starts_with(".wh.")) return false;
  bool opaque = name == ".wh..wh..opq";
  // AUFS kept other records of its own under this prefix; they are no files of the image.
  if (!opaque && name.starts_with(".wh..wh.")) return true;
  std::string_view hidden = name.substr(4);
  if (hidden.empty() || hidden == "." || hidden == "..") return Invalid("whiteout of no name");

  Result<Place> place = Resolve(path, Missing::kFail, 0);
  if (!place && place.error().code() == Code::kNotFound) return true;
  if (!place) return std::move(place).error();
  if (opaque) {
    PruneLower(place->parent);
    return true;
  }
  Inode::Children& children = *inodes_[place->parent].children;
  auto found = children.find(hidden);
  if (found == children.end()) return true;
  bool keep = found->second.layer == layer_;
  if (inodes_[found->second.inode].children) keep |= PruneLower(found->second.inode);
  if (keep) return true;
  Drop(found->second.inode);
  children.erase(found);
  return true;
}

}  // namespace msb::rootfs
