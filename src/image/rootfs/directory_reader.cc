// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/directory_reader.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "image/rootfs/erofs_format.h"
#include "sys/file.h"
#include "sys/xattr.h"

namespace msb::rootfs {
namespace {

constexpr size_t kBufferSize = size_t{256} << 10;
constexpr size_t kMaxXattrBytes = 65536;

Result<UniqueFd> Open(BorrowedFd root, const std::string& path, int flags) {
  return sys::OpenBeneath(root, path, flags | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
}

bool SameInode(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

FileKind KindOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileKind::kDirectory;
    case S_IFLNK:
      return FileKind::kSymlink;
    case S_IFCHR:
      return FileKind::kCharacter;
    case S_IFBLK:
      return FileKind::kBlock;
    case S_IFIFO:
      return FileKind::kFifo;
    case S_IFSOCK:
      return FileKind::kSocket;
    default:
      return FileKind::kRegular;
  }
}

Result<std::vector<DataSegment>> FindSegments(BorrowedFd file, const struct stat& stat) {
  std::vector<DataSegment> segments;
  auto size = static_cast<uint64_t>(stat.st_size);
  if (size == 0) return segments;
  // Asking where the holes are costs two calls a file; most files have none.
  if (static_cast<uint64_t>(stat.st_blocks) * 512 >= size) {
    segments.push_back({0, size});
    return segments;
  }
  for (off_t at = 0; at < stat.st_size;) {
    off_t data = ::lseek(file.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // A hole up to the end.
    if (data < 0) return Error::Errno("lseek SEEK_DATA");
    off_t hole = ::lseek(file.get(), data, SEEK_HOLE);
    if (hole < 0) return Error::Errno("lseek SEEK_HOLE");
    hole = std::min(hole, stat.st_size);
    if (hole <= data) break;  // Truncated meanwhile; CheckUnchanged will say so.
    segments.push_back({static_cast<uint64_t>(data), static_cast<uint64_t>(hole - data)});
    at = hole;
  }
  return segments;
}

}  // namespace

Result<bool> DirectoryReader::Next(DirectoryEntry& entry) {
  entry = {};
  if (!std::exchange(started_, true)) {
    entry.path.push_back('.');
  } else if (todo_.empty()) {
    return false;
  } else {
    entry.path = std::move(todo_.back());
    todo_.pop_back();
  }
  TRY(Describe(entry).Context(Cat("file \"", Escape(entry.path), "\"")));
  return true;
}

Result<void> DirectoryReader::Describe(DirectoryEntry& entry) {
  // O_PATH first: opening a FIFO or a device for real would wait or do things.
  UniqueFd handle = TRY(Open(root_, entry.path, O_PATH));
  stat_ = TRY(sys::Stat(handle));
  entry.kind = KindOf(stat_.st_mode);
  if (entry.kind != FileKind::kDirectory && stat_.st_nlink > 1) {
    auto known = links_.find({stat_.st_dev, stat_.st_ino});
    if (known != links_.end()) {
      entry.link_of = known->second;
      return {};
    }
  }
  entry.attributes = {.permissions = stat_.st_mode & 07777,
                      .uid = stat_.st_uid,
                      .gid = stat_.st_gid,
                      .mtime_nsec = static_cast<uint32_t>(stat_.st_mtim.tv_nsec),
                      .mtime = stat_.st_mtim.tv_sec};
  for (sys::ExtendedAttribute& xattr : TRY(sys::ListXattrs(handle, kMaxXattrBytes)))
    entry.attributes.xattrs.push_back({std::move(xattr.name), std::move(xattr.value)});

  if (entry.kind == FileKind::kSymlink) {
    entry.link = TRY(sys::ReadLinkAt(handle, ""));
  } else if (entry.kind == FileKind::kRegular || entry.kind == FileKind::kDirectory) {
    TRY(DescribeFile(entry));
  } else {
    if (major(stat_.st_rdev) > 0xfff || minor(stat_.st_rdev) > 0xfffff)
      return Error(Code::kInvalidArgument, "device number out of range");
    entry.device = erofs::PackDevice(major(stat_.st_rdev), minor(stat_.st_rdev));
  }
  return {};
}

Result<void> DirectoryReader::DescribeFile(DirectoryEntry& entry) {
  bool directory = entry.kind == FileKind::kDirectory;
  file_ = TRY(
      Open(root_, entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY | (directory ? O_DIRECTORY : 0)));
  if (!SameInode(TRY(sys::Stat(file_)), stat_))
    return Error(Code::kFailedPrecondition, "replaced while it was being read");
  if (directory) {
    std::vector<std::string> names = TRY(sys::ListDirectory(file_));
    for (auto name = names.rbegin(); name != names.rend(); ++name)
      todo_.push_back(entry.path == "." ? std::move(*name) : Cat(entry.path, '/', *name));
    return {};
  }
  entry.size = static_cast<uint64_t>(stat_.st_size);
  segments_ = TRY(FindSegments(file_, stat_));
  segment_ = 0;
  in_segment_ = 0;
  entry.segments = segments_;
  return {};
}

Result<std::span<const std::byte>> DirectoryReader::Read(uint64_t most) {
  if (segment_ == segments_.size()) return Error(Code::kInternal, "read past the file's data");
  buffer_.resize(kBufferSize);
  const DataSegment& segment = segments_[segment_];
  size_t count =
      static_cast<size_t>(std::min<uint64_t>({most, buffer_.size(), segment.length - in_segment_}));
  size_t got = TRY(sys::ReadSomeAt(file_, std::span(buffer_).first(count),
                                   static_cast<off_t>(segment.offset + in_segment_)));
  if (got == 0) return Error(Code::kFailedPrecondition, "became shorter while it was being read");
  in_segment_ += got;
  if (in_segment_ == segment.length) {
    ++segment_;
    in_segment_ = 0;
  }
  return std::span<const std::byte>(buffer_).first(got);
}

Result<void> DirectoryReader::CheckUnchanged() {
  struct stat now = TRY(sys::Stat(file_));
  if (now.st_size != stat_.st_size || now.st_mtim.tv_sec != stat_.st_mtim.tv_sec ||
      now.st_mtim.tv_nsec != stat_.st_mtim.tv_nsec)
    return Error(Code::kFailedPrecondition, "changed while it was being read");
  return {};
}

void DirectoryReader::Remember(InodeIndex inode) {
  if (!S_ISDIR(stat_.st_mode) && stat_.st_nlink > 1)
    links_.emplace(std::pair(stat_.st_dev, stat_.st_ino), inode);
}

}  // namespace msb::rootfs
