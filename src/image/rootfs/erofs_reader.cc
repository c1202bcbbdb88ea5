// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/erofs_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

constexpr uint64_t kBlock = erofs::kBlockSize;
constexpr size_t kMaxTarget = 4096;                      // PATH_MAX.
constexpr uint64_t kMaxDirectory = uint64_t{256} << 20;  // A million names of 255 bytes.
constexpr size_t kChunksAtOnce = 4096;
constexpr uint64_t kMaxFile = std::numeric_limits<int64_t>::max();

Error Bad(std::string_view what) {
  return Error(Code::kDataLoss, Cat("root disk: ", what))
      .Remedy("import the image again: msb image import");
}

Result<std::vector<Xattr>> ParseXattrs(std::string_view body) {
  static constexpr std::array<std::string_view, 7> kPrefixes = {
      "", "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
      "", "security."};
  std::vector<Xattr> xattrs;
  for (size_t at = erofs::kXattrHeaderSize; at < body.size();) {
    if (body.size() - at < sizeof(erofs::XattrEntry)) return Bad("an attribute is cut off");
    auto entry = LoadLittle<erofs::XattrEntry>(AsBytes(body).data() + at);
    if (entry.prefix >= kPrefixes.size() || kPrefixes[entry.prefix].empty())
      return Bad("an attribute of unknown kind");
    size_t name = at + sizeof entry, value = name + entry.name_length;
    size_t end = value + entry.value_size;
    if (end > body.size()) return Bad("an attribute is cut off");
    std::string full = Cat(kPrefixes[entry.prefix], body.substr(name, entry.name_length));
    if (full.find('\0') != std::string::npos) return Bad("an attribute's name has a NUL");
    xattrs.push_back({std::move(full), std::string(body.substr(value, entry.value_size))});
    at = AlignUp(end, 4);
  }
  return xattrs;
}

// The names of one block of a directory.
Result<void> ParseBlock(std::string_view block, std::vector<ErofsReader::Entry>& entries) {
  if (block.size() < erofs::kDirentSize) return Bad("a directory's block is cut off");
  const std::byte* raw = AsBytes(block).data();
  size_t count = LoadLittle<uint16_t>(raw + 8) / erofs::kDirentSize;
  if (count == 0 || count * erofs::kDirentSize > block.size())
    return Bad("a directory's block has no names");
  for (size_t i = 0; i < count; i++) {
    const std::byte* dirent = raw + i * erofs::kDirentSize;
    size_t from = LoadLittle<uint16_t>(dirent + 8);
    size_t to =
        i + 1 < count ? LoadLittle<uint16_t>(dirent + erofs::kDirentSize + 8) : block.size();
    if (from >= to || to > block.size()) return Bad("a name lies outside its block");
    std::string_view name = block.substr(from, to - from);
    if (i + 1 == count) name = name.substr(0, name.find('\0'));
    if (name == "." || name == "..") continue;
    if (name.empty() || name.size() > erofs::kMaxName || name.find('/') != name.npos ||
        name.find('\0') != name.npos)
      return Bad("a name that no file can have");
    entries.push_back({std::string(name), LoadLittle<uint64_t>(dirent)});
  }
  return {};
}

}  // namespace

Result<ErofsReader> ErofsReader::Open(BorrowedFd image) {
  struct stat stat = TRY(sys::Stat(image));
  ErofsReader reader(image, static_cast<uint64_t>(stat.st_size));
  std::string bytes = TRY(reader.Bytes(erofs::kSuperblockOffset, sizeof(erofs::Superblock)));
  auto super = LoadLittle<erofs::Superblock>(AsBytes(bytes).data());
  if (super.magic != erofs::kMagic || super.block_bits != erofs::kBlockBits)
    return Bad("it is no EROFS image of 4 KiB blocks");
  if ((super.feature_incompat & ~erofs::kIncompatChunkedFile) != 0 || super.extra_devices != 0)
    return Bad("it uses what this version does not know");
  reader.meta_ = uint64_t{super.meta_block} * kBlock;
  reader.root_ = super.root_nid;
  reader.chunked_ = (super.feature_incompat & erofs::kIncompatChunkedFile) != 0;
  return reader;
}

Result<std::string> ErofsReader::Bytes(uint64_t at, uint64_t count) const {
  if (at > size_ || count > size_ - at) return Bad("an address outside of it");
  std::string bytes(count, '\0');
  TRY(sys::ReadExactlyAt(image_, std::as_writable_bytes(std::span(bytes)), static_cast<off_t>(at)));
  return bytes;
}

Result<ErofsReader::Node> ErofsReader::Load(uint64_t nid) const {
  if (nid > size_ / erofs::kSlotSize) return Bad("an inode outside of it");
  uint64_t at = meta_ + nid * erofs::kSlotSize;
  std::string bytes = TRY(Bytes(at, sizeof(erofs::Inode)));
  auto raw = LoadLittle<erofs::Inode>(AsBytes(bytes).data());
  Node node{.nid = nid,
            .mode = raw.mode,
            .uid = raw.uid,
            .gid = raw.gid,
            .links = raw.nlink,
            .mtime = raw.mtime,
            .mtime_nsec = raw.mtime_nsec,
            .size = raw.size,
            .xattrs = {},
            .layout = static_cast<erofs::Layout>(raw.format >> 1),
            .data = raw.data,
            .after = at + sizeof raw};
  if ((raw.format & 1) == 0 || raw.format > 15) return Bad("an inode of unknown format");
  if (raw.mtime_nsec >= 1'000'000'000 || raw.size > kMaxFile) return Bad("an inode out of range");
  if (raw.xattr_count > 0) {
    uint64_t length = erofs::kXattrHeaderSize + 4 * (raw.xattr_count - uint64_t{1});
    node.xattrs = TRY(ParseXattrs(TRY(Bytes(node.after, length))));
    node.after += length;
  }
  return node;
}

Result<void> ErofsReader::EachChunk(const Node& file,
                                    const std::function<Result<void>(const Extent&)>& each) const {
  if (!chunked_ || file.data > erofs::kMaxChunkBits) return Bad("a chunk map of unknown format");
  uint64_t chunk = kBlock << file.data;
  uint64_t count = file.size / chunk + (file.size % chunk != 0 ? 1 : 0);
  uint64_t map = AlignUp(file.after, 4);
  // A map larger than the image ends here, not in memory.
  if (count > size_ / 4) return Bad("a chunk map outside of it");
  Extent run;
  for (uint64_t i = 0; i < count;) {
    uint64_t part = std::min<uint64_t>(count - i, kChunksAtOnce);
    std::string blocks = TRY(Bytes(map + 4 * i, 4 * part));
    for (uint64_t j = 0; j < part; j++, i++) {
      auto block = LoadLittle<uint32_t>(AsBytes(blocks).data() + 4 * j);
      if (block == erofs::kHole) continue;
      Extent next{i * chunk, block * kBlock, std::min(chunk, file.size - i * chunk)};
      if (next.from > size_ || next.bytes > size_ - next.from) return Bad("a chunk outside of it");
      if (run.bytes != 0 && run.offset + run.bytes == next.offset &&
          run.from + run.bytes == next.from) {
        run.bytes += next.bytes;
        continue;
      }
      if (run.bytes != 0) TRY(each(run));
      run = next;
    }
  }
  return run.bytes != 0 ? each(run) : Result<void>();
}

Result<void> ErofsReader::ForEachExtent(
    const Node& file, const std::function<Result<void>(const Extent&)>& each) const {
  if (file.size == 0) return {};
  uint64_t start = uint64_t{file.data} * kBlock;
  auto give = [&](const Extent& extent) -> Result<void> {
    if (extent.from > size_ || extent.bytes > size_ - extent.from)
      return Bad("a content outside of it");
    return extent.bytes != 0 ? each(extent) : Result<void>();
  };
  switch (file.layout) {
    case erofs::Layout::kFlatPlain:
      return give({0, start, file.size});
    case erofs::Layout::kFlatInline: {
      uint64_t whole = file.size / kBlock * kBlock;
      TRY(give({0, start, whole}));
      return give({whole, file.after, file.size - whole});
    }
    case erofs::Layout::kChunkBased:
      return EachChunk(file, each);
  }
  return Bad("an inode of unknown layout");
}

Result<std::string> ErofsReader::Content(const Node& node, uint64_t limit) const {
  if (node.size > std::min(limit, size_)) return Bad("a directory or link that is too long");
  std::string content(node.size, '\0');
  TRY(ForEachExtent(node, [&](const Extent& extent) -> Result<void> {
    return sys::ReadExactlyAt(
        image_, std::as_writable_bytes(std::span(content)).subspan(extent.offset, extent.bytes),
        static_cast<off_t>(extent.from));
  }));
  return content;
}

Result<std::vector<ErofsReader::Entry>> ErofsReader::List(const Node& directory) const {
  if (!S_ISDIR(directory.mode)) return Bad("a directory that is none");
  std::string content = TRY(Content(directory, kMaxDirectory));
  std::vector<Entry> entries;
  for (size_t at = 0; at < content.size(); at += kBlock)
    TRY(ParseBlock(std::string_view(content).substr(at, kBlock), entries));
  return entries;
}

Result<std::string> ErofsReader::Target(const Node& symlink) const {
  if (!S_ISLNK(symlink.mode)) return Bad("a link that is none");
  std::string target = TRY(Content(symlink, kMaxTarget));
  if (target.empty() || target.find('\0') != std::string::npos)
    return Bad("a link to what no path can be");
  return target;
}

}  // namespace msb::rootfs
