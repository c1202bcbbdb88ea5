// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/test_erofs_reader.h"

#include <sys/stat.h>

#include <array>
#include <functional>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "image/rootfs/erofs_format.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

constexpr uint64_t kBlock = erofs::kBlockSize;
constexpr uint64_t kMaxContent = uint64_t{64} << 20;

Error Bad(std::string what) { return Error(Code::kDataLoss, std::move(what)); }

class Reader {
 public:
  explicit Reader(BorrowedFd image) : image_(image) {}

  Result<SeenTree> Read() {
    struct stat stat = TRY(sys::Stat(image_));
    size_ = static_cast<uint64_t>(stat.st_size);
    std::string first = TRY(Bytes(0, kBlock));
    super_ = LoadLittle<erofs::Superblock>(AsBytes(first).data() + 1024);
    if (super_.magic != erofs::kMagic) return Bad("magic");
    if (super_.block_bits != 12) return Bad("block size");
    if (uint64_t{super_.blocks} * kBlock != size_) return Bad("block count");
    if (super_.feature_incompat & ~erofs::kIncompatChunkedFile) return Bad("features");
    std::memset(first.data() + 1028, 0, 4);
    uint32_t crc = ~0u;
    for (char c : first.substr(1024)) {
      crc ^= static_cast<uint8_t>(c);
      for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    if (crc != super_.checksum) return Bad("checksum");
    TRY(Walk("", super_.root_nid, super_.root_nid, 1));
    for (const auto& [path, file] : tree_)
      if (!S_ISDIR(file.mode) && file.nlink != names_[file.nid])
        return Bad(Cat("nlink of ", Escape(path)));
    if (names_.size() != super_.inodes) return Bad("inode count");
    return std::move(tree_);
  }

 private:
  Result<std::string> Bytes(uint64_t at, uint64_t count) {
    if (at > size_ || count > size_ - at) return Bad("address outside the image");
    std::string bytes(count, '\0');
    TRY(sys::ReadExactlyAt(image_, std::as_writable_bytes(std::span(bytes)),
                           static_cast<off_t>(at)));
    return bytes;
  }

  template <class T>
  Result<T> Load(uint64_t at) {
    std::array<std::byte, sizeof(T)> bytes;
    if (at > size_ || bytes.size() > size_ - at) return Bad("address outside the image");
    TRY(sys::ReadExactlyAt(image_, bytes, static_cast<off_t>(at)));
    return LoadLittle<T>(bytes.data());
  }

  // Everything of one inode but its names.
  Result<SeenFile> Inode(uint64_t nid) {
    uint64_t at = super_.meta_block * kBlock + nid * 32;
    if (at % kBlock + 64 > kBlock) return Bad("inode across blocks");
    auto raw = TRY(Load<erofs::Inode>(at));
    SeenFile file{.mode = raw.mode,
                  .uid = raw.uid,
                  .gid = raw.gid,
                  .nlink = raw.nlink,
                  .mtime = raw.mtime,
                  .mtime_nsec = raw.mtime_nsec,
                  .size = raw.size,
                  .nid = nid};
    if ((raw.format & 1) == 0 || raw.format > 15) return Bad("inode format");
    if (raw.mtime_nsec >= 1'000'000'000) return Bad("nanoseconds");
    at += 64;
    if (raw.xattr_count > 0) {
      uint64_t bytes = 12 + 4 * (raw.xattr_count - uint64_t{1});
      file.xattrs = TRY(Xattrs(TRY(Bytes(at, bytes))));
      at += bytes;
    }
    switch (raw.mode & S_IFMT) {
      case S_IFCHR:
      case S_IFBLK:
        file.device = raw.data;
        return file;
      case S_IFIFO:
      case S_IFSOCK:
        return file;
      case S_IFREG:
      case S_IFDIR:
      case S_IFLNK:
        break;
      default:
        return Bad("file type");
    }
    if (raw.size > kMaxContent) return file;
    switch (static_cast<erofs::Layout>(raw.format >> 1)) {
      case erofs::Layout::kFlatPlain:
        if (raw.size > 0) file.content = TRY(Bytes(raw.data * kBlock, raw.size));
        break;
      case erofs::Layout::kFlatInline: {
        file.inlined = true;
        uint64_t whole = raw.size / kBlock * kBlock;
        if (raw.size == whole) return Bad("tail of nothing");
        if (whole > 0) file.content = TRY(Bytes(raw.data * kBlock, whole));
        if (at % kBlock + (raw.size - whole) > kBlock) return Bad("tail across blocks");
        file.content += TRY(Bytes(at, raw.size - whole));
        break;
      }
      case erofs::Layout::kChunkBased:
        file.chunked = true;
        file.content = TRY(Chunks(AlignUp(at, 4), raw));
        break;
      default:
        return Bad("layout");
    }
    return file;
  }

  Result<std::string> Chunks(uint64_t at, const erofs::Inode& raw) {
    if ((super_.feature_incompat & erofs::kIncompatChunkedFile) == 0) return Bad("no such feature");
    if (raw.data > 31) return Bad("chunk format");
    uint64_t chunk = kBlock << raw.data;
    std::string content;
    for (uint64_t i = 0; content.size() < raw.size; ++i) {
      auto block = TRY(Load<uint32_t>(at + 4 * i));
      uint64_t count = std::min(chunk, raw.size - content.size());
      content +=
          block == erofs::kHole ? std::string(count, '\0') : TRY(Bytes(block * kBlock, count));
    }
    return content;
  }

  static Result<std::vector<Xattr>> Xattrs(const std::string& body) {
    static constexpr std::array<std::string_view, 7> kPrefixes = {
        "", "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
        "", "security."};
    std::vector<Xattr> xattrs;
    for (size_t at = 12; at < body.size();) {
      auto entry = LoadLittle<erofs::XattrEntry>(AsBytes(body).data() + at);
      if (entry.prefix >= kPrefixes.size() || kPrefixes[entry.prefix].empty())
        return Bad("attribute prefix");
      size_t end = at + 4 + entry.name_length + entry.value_size;
      if (end > body.size()) return Bad("attribute");
      xattrs.push_back({Cat(kPrefixes[entry.prefix], body.substr(at + 4, entry.name_length)),
                        body.substr(at + 4 + entry.name_length, entry.value_size)});
      at = AlignUp(end, 4);
    }
    return xattrs;
  }

  Result<void> Walk(const std::string& path, uint64_t nid, uint64_t parent, int depth) {
    if (depth > 300) return Bad("too deep for this reader");
    SeenFile file = TRY(Inode(nid));
    ++names_[nid];
    std::string content = file.content;
    bool directory = S_ISDIR(file.mode);
    uint32_t links = file.nlink;
    if (directory) file.content.clear();
    tree_[path] = std::move(file);
    if (!directory) return {};

    std::string last_name;
    uint32_t subdirectories = 0;
    for (size_t begin = 0; begin < content.size(); begin += kBlock) {
      std::string block = content.substr(begin, kBlock);
      const std::byte* raw = AsBytes(block).data();
      size_t count = LoadLittle<uint16_t>(raw + 8) / 12u;
      if (count == 0 || count * 12 > block.size()) return Bad("directory block");
      for (size_t i = 0; i < count; ++i) {
        auto child = LoadLittle<uint64_t>(raw + i * 12);
        size_t from = LoadLittle<uint16_t>(raw + i * 12 + 8);
        size_t to = i + 1 < count ? LoadLittle<uint16_t>(raw + i * 12 + 20) : block.size();
        if (to > block.size() || from >= to) return Bad("name offset");
        std::string name = block.substr(from, to - from);
        if (i + 1 == count) name.resize(std::min(name.find('\0'), name.size()));
        if (name <= last_name) return Bad("names out of order");
        last_name = name;
        if (name == "." && child != nid) return Bad("dot");
        if (name == ".." && child != parent) return Bad("dot dot");
        if (name == "." || name == "..") continue;
        std::string below = path.empty() ? name : Cat(path, '/', name);
        TRY(Walk(below, child, nid, depth + 1));
        uint32_t mode = tree_[below].mode;
        subdirectories += S_ISDIR(mode) ? 1 : 0;
        static constexpr std::array<uint32_t, 8> kTypes = {0,       S_IFREG, S_IFDIR,  S_IFCHR,
                                                           S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};
        auto type = static_cast<size_t>(raw[i * 12 + 10]);
        if (type > 7 || kTypes[type] != (mode & S_IFMT)) return Bad("type in a directory");
      }
    }
    if (links != 2 + subdirectories) return Bad(Cat("nlink of directory ", Escape(path)));
    return {};
  }

  BorrowedFd image_;
  uint64_t size_ = 0;
  erofs::Superblock super_{};
  SeenTree tree_;
  std::map<uint64_t, uint32_t> names_;
};

}  // namespace

Result<SeenTree> ReadErofs(BorrowedFd image) { return Reader(image).Read(); }

}  // namespace msb::rootfs
