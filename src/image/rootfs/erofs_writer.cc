// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/erofs_writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/text.h"
#include "image/rootfs/content.h"
#include "image/rootfs/erofs_format.h"
#include "image/rootfs/erofs_xattr.h"

namespace msb::rootfs {
namespace {

using erofs::kBlockSize;
using erofs::kSlotSize;

// A directory or symlink target of no more than this lies behind its inode. Half a block always
// finds a place, whatever the attributes before it are.
constexpr uint32_t kMaxTail = 2048;
static_assert(kSmallFile <= kMaxTail);
// Slot 0 stays empty, because inode number 0 means "no such entry" to some programs.
constexpr uint64_t kFirstInode = 64;

struct Name {
  std::string_view name;
  InodeIndex inode;
};

uint64_t ChunkCount(const Content& content) {
  uint32_t shift = erofs::kBlockBits + content.chunks->chunk_bits;
  return ((content.size - 1) >> shift) + 1;
}

uint32_t ModeType(FileKind kind) {
  switch (kind) {
    case FileKind::kRegular:
      return S_IFREG;
    case FileKind::kDirectory:
      return S_IFDIR;
    case FileKind::kSymlink:
      return S_IFLNK;
    case FileKind::kCharacter:
      return S_IFCHR;
    case FileKind::kBlock:
      return S_IFBLK;
    case FileKind::kFifo:
      return S_IFIFO;
    case FileKind::kSocket:
      return S_IFSOCK;
  }
  CHECK(false);
}

erofs::FileType DirentType(FileKind kind) {
  switch (kind) {
    case FileKind::kRegular:
      return erofs::FileType::kRegular;
    case FileKind::kDirectory:
      return erofs::FileType::kDirectory;
    case FileKind::kSymlink:
      return erofs::FileType::kSymlink;
    case FileKind::kCharacter:
      return erofs::FileType::kCharacter;
    case FileKind::kBlock:
      return erofs::FileType::kBlock;
    case FileKind::kFifo:
      return erofs::FileType::kFifo;
    case FileKind::kSocket:
      return erofs::FileType::kSocket;
  }
  CHECK(false);
}

// CRC-32C as the superblock has it: all ones at the start, not inverted at the end.
uint32_t Crc32c(std::span<const std::byte> bytes) {
  uint32_t crc = ~uint32_t{0};
  for (std::byte byte : bytes) {
    crc ^= std::to_integer<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return crc;
}

class MetadataWriter {
 public:
  MetadataWriter(ImageFile& image, const Tree& tree) : image_(image), inodes_(tree.inodes()) {}
  Result<void> Write();

 private:
  struct Place {
    uint64_t offset = 0;     // Of the inode, from the start of the metadata; 0 is not yet placed.
    InodeIndex parent = 0;   // Directories only.
    uint32_t own_block = 0;  // Where a directory or long symlink starts that is no tail, else 0.
    uint64_t directory_size = 0;
    uint32_t subdirectories = 0;
  };

  void PlaceInode(InodeIndex index);
  void PlaceTree();
  std::vector<Name> Names(InodeIndex directory) const;
  template <class Visit>
  static void ForEachDirectoryBlock(const std::vector<Name>& names, Visit visit);
  void EncodeDirectory(InodeIndex directory, std::vector<std::byte>& out) const;
  Result<void> WriteInode(InodeIndex index);
  Result<void> WriteTail(InodeIndex index);
  Result<void> WriteChunkMap(const Content& content);
  Result<void> WriteSuperblock();
  erofs::Inode EncodeInode(InodeIndex index) const;
  uint64_t Nid(InodeIndex index) const { return places_[index].offset / kSlotSize; }

  ImageFile& image_;
  const std::deque<Inode>& inodes_;
  std::vector<Place> places_;
  std::vector<InodeIndex> order_;  // As the inodes lie in the metadata.
  uint64_t metadata_end_ = kFirstInode;
  uint64_t first_own_block_ = 0;
  uint64_t own_blocks_ = 0;
  uint64_t meta_block_ = 0;
  bool chunked_ = false;
};

std::vector<Name> MetadataWriter::Names(InodeIndex directory) const {
  const Inode::Children& children = *inodes_[directory].children;
  std::vector<Name> names;
  names.reserve(children.size() + 2);
  for (const auto& [name, child] : children) names.push_back({name, child.inode});
  // string_view compares bytes as unsigned, which is the order of the format.
  for (Name dot : {Name{".", directory}, Name{"..", places_[directory].parent}}) {
    auto at = std::lower_bound(names.begin(), names.end(), dot,
                               [](const Name& a, const Name& b) { return a.name < b.name; });
    names.insert(at, dot);
  }
  return names;
}

// visit(first, count, bytes) for each block's worth of names.
template <class Visit>
void MetadataWriter::ForEachDirectoryBlock(const std::vector<Name>& names, Visit visit) {
  size_t first = 0;
  size_t used = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    size_t need = erofs::kDirentSize + names[i].name.size();
    if (used + need > kBlockSize) {
      visit(first, i - first, used);
      first = i;
      used = 0;
    }
    used += need;
  }
  visit(first, names.size() - first, used);
}

void MetadataWriter::PlaceInode(InodeIndex index) {
  const Inode& inode = inodes_[index];
  Place& place = places_[index];
  uint64_t head = sizeof(erofs::Inode) + (inode.xattrs ? XattrBytes(*inode.xattrs) : 0);
  uint64_t tail = inode.content.small.size();
  uint64_t behind = 0;
  if (inode.kind == FileKind::kDirectory) {
    std::vector<Name> names = Names(index);
    ForEachDirectoryBlock(names, [&](size_t, size_t, size_t bytes) {
      place.directory_size = AlignUp(place.directory_size, kBlockSize) + bytes;
    });
    tail = place.directory_size;
  } else if (inode.content.chunks) {
    behind = AlignUp(head, 4) - head + ChunkCount(inode.content) * 4;
    chunked_ = true;
  }
  if (tail > kMaxTail) {
    place.own_block = static_cast<uint32_t>(first_own_block_ + own_blocks_);
    own_blocks_ += AlignUp(std::exchange(tail, 0), kBlockSize) / kBlockSize;
  }
  // Neither the inode nor its tail may lie in two blocks; attributes and chunk maps may.
  uint64_t at = AlignUp(metadata_end_, kSlotSize);
  auto left = [&] { return kBlockSize - at % kBlockSize; };
  if (left() < sizeof(erofs::Inode)) at = AlignUp(at, kBlockSize);
  while (tail > 0 && (at + head) % kBlockSize + tail > kBlockSize) {
    // With long attributes the next block's start need not be the answer; the next slot is.
    at += kSlotSize;
    if (left() < sizeof(erofs::Inode)) at = AlignUp(at, kBlockSize);
  }
  place.offset = at;
  metadata_end_ = at + head + tail + behind;
  order_.push_back(index);
}

// Each directory's children together, in the order of their names: what `ls -l` reads.
void MetadataWriter::PlaceTree() {
  places_.resize(inodes_.size());
  PlaceInode(Tree::kRoot);
  std::vector<InodeIndex> todo{Tree::kRoot};
  while (!todo.empty()) {
    InodeIndex directory = todo.back();
    todo.pop_back();
    size_t first_below = todo.size();
    for (const auto& [name, child] : *inodes_[directory].children) {
      Place& place = places_[child.inode];
      if (inodes_[child.inode].kind == FileKind::kDirectory) {
        place.parent = directory;
        ++places_[directory].subdirectories;
        todo.push_back(child.inode);
      }
      if (place.offset == 0) PlaceInode(child.inode);
    }
    std::reverse(todo.begin() + static_cast<ptrdiff_t>(first_below), todo.end());
  }
}

void MetadataWriter::EncodeDirectory(InodeIndex directory, std::vector<std::byte>& out) const {
  std::vector<Name> names = Names(directory);
  ForEachDirectoryBlock(names, [&](size_t first, size_t count, size_t bytes) {
    out.resize(AlignUp(out.size(), kBlockSize));
    size_t block = out.size();
    out.resize(block + bytes);
    size_t name_at = count * erofs::kDirentSize;
    for (size_t i = 0; i < count; ++i) {
      const Name& name = names[first + i];
      std::byte* dirent = out.data() + block + i * erofs::kDirentSize;
      StoreLittle(dirent, Nid(name.inode));
      StoreLittle(dirent + 8, static_cast<uint16_t>(name_at));
      dirent[10] = static_cast<std::byte>(DirentType(inodes_[name.inode].kind));
      std::memcpy(out.data() + block + name_at, name.name.data(), name.name.size());
      name_at += name.name.size();
    }
  });
}

erofs::Inode MetadataWriter::EncodeInode(InodeIndex index) const {
  const Inode& inode = inodes_[index];
  const Place& place = places_[index];
  erofs::Inode raw{};
  erofs::Layout layout = erofs::Layout::kFlatPlain;
  raw.size = inode.content.size;
  raw.data = inode.content.start_block;
  raw.nlink = inode.links;
  if (!inode.content.small.empty()) {
    layout = place.own_block == 0 ? erofs::Layout::kFlatInline : erofs::Layout::kFlatPlain;
    raw.size = inode.content.small.size();
    raw.data = place.own_block;
  } else if (inode.content.chunks) {
    layout = erofs::Layout::kChunkBased;
    raw.data = inode.content.chunks->chunk_bits;
  } else if (inode.kind == FileKind::kDirectory) {
    layout = place.own_block == 0 ? erofs::Layout::kFlatInline : erofs::Layout::kFlatPlain;
    raw.size = place.directory_size;
    raw.data = place.own_block;
    raw.nlink = 2 + place.subdirectories;
  } else if (inode.kind == FileKind::kCharacter || inode.kind == FileKind::kBlock) {
    raw.data = inode.device;
  }
  raw.format = erofs::InodeFormat(layout);
  if (uint64_t bytes = (inode.xattrs ? XattrBytes(*inode.xattrs) : 0); bytes > 0)
    raw.xattr_count = static_cast<uint16_t>(1 + (bytes - erofs::kXattrHeaderSize) / 4);
  raw.mode = static_cast<uint16_t>(ModeType(inode.kind) | inode.permissions);
  raw.ino = static_cast<uint32_t>(Nid(index));
  raw.uid = inode.uid;
  raw.gid = inode.gid;
  raw.mtime = inode.mtime;
  raw.mtime_nsec = inode.mtime_nsec;
  return raw;
}

Result<void> MetadataWriter::WriteChunkMap(const Content& content) {
  TRY(image_.AppendZeros(AlignUp(image_.position(), 4) - image_.position()));
  // Piecewise: a map has millions of entries at worst.
  std::vector<uint32_t> piece;
  auto add = [&](uint32_t block) -> Result<void> {
    piece.push_back(block);
    if (piece.size() < 4096) return {};
    TRY(image_.Append(std::as_bytes(std::span(piece))));
    piece.clear();
    return {};
  };
  uint64_t next = 0;
  for (const ChunkRun& run : content.chunks->runs) {
    for (; next < run.first_chunk; ++next) TRY(add(erofs::kHole));
    for (uint64_t i = 0; i < run.chunks; ++i, ++next)
      TRY(add(static_cast<uint32_t>(run.start_block + (i << content.chunks->chunk_bits))));
  }
  for (uint64_t count = ChunkCount(content); next < count; ++next) TRY(add(erofs::kHole));
  return image_.Append(std::as_bytes(std::span(piece)));
}

Result<void> MetadataWriter::WriteInode(InodeIndex index) {
  const Inode& inode = inodes_[index];
  uint64_t at = meta_block_ * kBlockSize + places_[index].offset;
  TRY(image_.AppendZeros(at - image_.position()));
  std::vector<std::byte> bytes(sizeof(erofs::Inode));
  StoreLittle(bytes.data(), EncodeInode(index));
  if (inode.xattrs) EncodeXattrs(*inode.xattrs, bytes);
  TRY(image_.Append(bytes));
  if (inode.content.chunks) return WriteChunkMap(inode.content);
  if (places_[index].own_block != 0) return {};
  return WriteTail(index);
}

Result<void> MetadataWriter::WriteTail(InodeIndex index) {
  if (inodes_[index].kind != FileKind::kDirectory)
    return image_.Append(AsBytes(inodes_[index].content.small));
  std::vector<std::byte> bytes;
  EncodeDirectory(index, bytes);
  return image_.Append(bytes);
}

Result<void> MetadataWriter::WriteSuperblock() {
  erofs::Superblock super{};
  super.magic = erofs::kMagic;
  super.feature_compat = erofs::kCompatChecksum | erofs::kCompatMtime;
  super.feature_incompat = chunked_ ? erofs::kIncompatChunkedFile : 0;
  super.block_bits = erofs::kBlockBits;
  super.root_nid = static_cast<uint16_t>(Nid(Tree::kRoot));
  super.inodes = order_.size();
  super.blocks = static_cast<uint32_t>(image_.position() / kBlockSize);
  super.meta_block = static_cast<uint32_t>(meta_block_);

  std::vector<std::byte> block(kBlockSize);
  std::byte* at = block.data() + erofs::kSuperblockOffset;
  StoreLittle(at, super);
  super.checksum = Crc32c(std::span(block).subspan(erofs::kSuperblockOffset));
  StoreLittle(at, super);
  return image_.WriteAt(0, block);
}

Result<void> MetadataWriter::Write() {
  first_own_block_ = image_.block();
  PlaceTree();
  meta_block_ = first_own_block_ + own_blocks_;
  for (InodeIndex index : order_) {
    if (places_[index].own_block == 0) continue;
    TRY(WriteTail(index));
    TRY(image_.AlignToBlock());
  }
  for (InodeIndex index : order_) TRY(WriteInode(index));
  TRY(image_.AlignToBlock());
  TRY(WriteSuperblock());
  return image_.Finish();
}

}  // namespace

Result<void> WriteMetadata(ImageFile& image, const Tree& tree) {
  return MetadataWriter(image, tree).Write();
}

}  // namespace msb::rootfs
