// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/root_disk.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/text.h"
#include "image/rootfs/directory_reader.h"
#include "image/rootfs/erofs_format.h"
#include "image/rootfs/erofs_writer.h"
#include "image/rootfs/erofs_xattr.h"
#include "image/rootfs/image_file.h"
#include "image/rootfs/input_stream.h"
#include "image/rootfs/tar_reader.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {
namespace {

// What the format can hold, whatever the caller allows.
RootDiskLimits Clamp(RootDiskLimits limits) {
  limits.entries = std::min<uint64_t>(limits.entries, 1u << 30);
  limits.image_bytes = std::min(limits.image_bytes, erofs::kMaxBlocks << erofs::kBlockBits);
  limits.file_bytes = std::min(limits.file_bytes, erofs::kMaxBlocks << erofs::kBlockBits);
  limits.path_bytes = std::min<uint32_t>(limits.path_bytes, 4096);
  limits.xattr_bytes = std::min<uint32_t>(limits.xattr_bytes, 65536);
  return limits;
}

void DropForeignXattrs(std::string_view path, std::vector<Xattr>& xattrs,
                       RootDiskSummary& summary) {
  std::erase_if(xattrs, [&](const Xattr& xattr) {
    if (CanStoreXattr(xattr.name)) return false;
    if (summary.dropped_xattrs++ == 0)
      summary.first_dropped_xattr = Cat(Escape(xattr.name), " of ", Escape(path));
    return true;
  });
}

}  // namespace

struct RootDiskBuilder::State {
  State(BorrowedFd out, RootDiskOptions opts)
      : options(std::move(opts)),
        image(out, kFirstContent, options.limits.image_bytes),
        tree(options.limits) {}

  Result<void> AddTarEntry(TarReader& reader, TarEntry& entry, TarKind kind);
  Result<void> AddFile(const DirectoryEntry& file, DirectoryReader& reader);

  RootDiskOptions options;
  ImageFile image;
  Tree tree;
  RootDiskSummary summary;
  bool any_layer = false;
};

Result<void> RootDiskBuilder::State::AddTarEntry(TarReader& reader, TarEntry& entry, TarKind kind) {
  if (kind == TarKind::kLayer && TRY(tree.ApplyWhiteout(entry.path))) return {};
  if (entry.hard_link) return tree.Link(entry.path, entry.link);

  DropForeignXattrs(entry.path, entry.attributes.xattrs, summary);
  for (const std::string& lost : entry.lost_xattrs)
    if (summary.dropped_xattrs++ == 0)
      summary.first_dropped_xattr = Cat(lost, " of ", Escape(entry.path));
  Tree::Entry added{.kind = entry.kind, .attributes = std::move(entry.attributes)};
  if (entry.kind == FileKind::kRegular) {
    // Before a byte is stored for it.
    TRY(SplitPath(entry.path, options.limits));
    added.content = TRY(StoreContent(image, entry.size, entry.segments, reader));
  } else if (entry.kind == FileKind::kSymlink) {
    added.content.small = std::move(entry.link);
  } else {
    added.device = erofs::PackDevice(entry.device_major, entry.device_minor);
  }
  TRY(tree.Add(entry.path, std::move(added)));
  return {};
}

RootDiskBuilder::RootDiskBuilder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RootDiskBuilder::RootDiskBuilder(RootDiskBuilder&&) noexcept = default;
RootDiskBuilder& RootDiskBuilder::operator=(RootDiskBuilder&&) noexcept = default;
RootDiskBuilder::~RootDiskBuilder() = default;

Result<RootDiskBuilder> RootDiskBuilder::Create(BorrowedFd out, RootDiskOptions options) {
  options.limits = Clamp(options.limits);
  return RootDiskBuilder(std::make_unique<State>(out, std::move(options)));
}

Result<void> RootDiskBuilder::AddTar(BorrowedFd tar, TarKind kind, TarTap tap) {
  State& state = *state_;
  if (std::exchange(state.any_layer, true)) TRY(state.tree.BeginLayer());
  const RootDiskLimits& limits = state.options.limits;
  uint64_t before = state.summary.input_bytes;
  std::function<Result<void>(uint64_t)> progress;
  if (state.options.progress)
    progress = [&](uint64_t bytes) { return state.options.progress(before + bytes); };
  InputStream input(TRY(Decompressed(ProduceFromFile(tar))),
                    {.max_bytes = limits.input_bytes - std::min(before, limits.input_bytes),
                     .tap = std::move(tap),
                     .progress = std::move(progress)});
  TarReader reader(input, limits);
  TarEntry entry;
  while (TRY(reader.Next(entry))) {
    TRY(state.AddTarEntry(reader, entry, kind).Context(Cat("entry \"", Escape(entry.path), "\"")));
  }
  state.summary.input_bytes += input.consumed();
  return {};
}

Result<void> RootDiskBuilder::State::AddFile(const DirectoryEntry& file, DirectoryReader& reader) {
  if (file.link_of) return tree.LinkInode(file.path, *file.link_of);
  Tree::Entry added{.kind = file.kind, .attributes = file.attributes, .device = file.device};
  DropForeignXattrs(file.path, added.attributes.xattrs, summary);
  if (file.kind == FileKind::kRegular) {
    if (file.size > options.limits.file_bytes)
      return Error(Code::kResourceExhausted,
                   Cat("file of ", file.size, " bytes, more than ", options.limits.file_bytes));
    added.content = TRY(StoreContent(image, file.size, file.segments, reader));
    TRY(reader.CheckUnchanged());
    summary.input_bytes += file.size;
    if (options.progress) TRY(options.progress(summary.input_bytes));
  } else if (file.kind == FileKind::kSymlink) {
    added.content.small = file.link;
  }
  InodeIndex inode = TRY(tree.Add(file.path, std::move(added)));
  reader.Remember(inode);
  return {};
}

Result<void> RootDiskBuilder::AddDirectory(BorrowedFd directory) {
  State& state = *state_;
  if (std::exchange(state.any_layer, true)) TRY(state.tree.BeginLayer());
  DirectoryReader reader(directory);
  DirectoryEntry file;
  while (TRY(reader.Next(file)))
    TRY(state.AddFile(file, reader).Context(Cat("file \"", Escape(file.path), "\"")));
  return {};
}

Result<RootDiskSummary> RootDiskBuilder::Finish() && {
  State& state = *state_;
  TRY(WriteMetadata(state.image, state.tree).Context("metadata"));
  RootDiskSummary& summary = state.summary;
  summary.image_bytes = state.image.position();
  summary.overwritten_bytes = state.tree.overwritten_bytes();
  for (const Inode& inode : state.tree.inodes()) {
    if (inode.links == 0) continue;
    summary.extra_hard_links += inode.links - 1;
    uint64_t& counter = inode.kind == FileKind::kRegular     ? summary.files
                        : inode.kind == FileKind::kDirectory ? summary.directories
                        : inode.kind == FileKind::kSymlink   ? summary.symlinks
                                                             : summary.special_files;
    ++counter;
  }
  return summary;
}

Result<RootDiskSummary> WriteRootDiskFromTar(BorrowedFd tar, BorrowedFd out,
                                             RootDiskOptions options, TarTap tap) {
  RootDiskBuilder builder = TRY(RootDiskBuilder::Create(out, std::move(options)));
  TRY(builder.AddTar(tar, TarKind::kPlain, std::move(tap)));
  return std::move(builder).Finish();
}

Result<RootDiskSummary> WriteRootDiskFromDirectory(BorrowedFd directory, BorrowedFd out,
                                                   RootDiskOptions options) {
  RootDiskBuilder builder = TRY(RootDiskBuilder::Create(out, std::move(options)));
  TRY(builder.AddDirectory(directory));
  return std::move(builder).Finish();
}

}  // namespace msb::rootfs
