// SPDX-License-Identifier: Apache-2.0
// Depth first, a descriptor for each directory on the way: no name is ever looked up that is more
// than one component, so nothing in the tree can lead out of it. What a directory is to be in the
// end (owner, mode, times) it becomes when all that it holds is there.

#include "image/rootfs/root_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <vector>

#include "base/text.h"
#include "image/rootfs/erofs_reader.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

using Node = ErofsReader::Node;

constexpr size_t kCopyBytes = size_t{1} << 20;
constexpr uint32_t kNobody = 65534;

Error Bad(std::string_view what) {
  return Error(Code::kDataLoss, Cat("root disk: ", what))
      .Remedy("import the image again: msb image import");
}

// (uid_t)-1 means "leave it" to the kernel, and would leave it root's.
uint32_t Owner(uint32_t id) { return id == ~uint32_t{0} ? kNobody : id; }

// The file itself where `name` is empty. An id that this user namespace has not becomes nobody's,
// as a sandbox sees it that root has started.
int SetOwner(BorrowedFd at, const char* name, const Node& node) {
  constexpr uint32_t kIds = 65536;  // That every sandbox has.
  auto set = [&](uint32_t uid, uint32_t gid) {
    return ::fchownat(at.get(), name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
  };
  if (set(Owner(node.uid), Owner(node.gid)) == 0) return 0;
  if (errno != EINVAL) return -1;
  return set(node.uid < kIds ? node.uid : kNobody, node.gid < kIds ? node.gid : kNobody);
}

bool IsAcl(const std::string& name) { return name.starts_with("system.posix_acl_"); }

class Writer {
 public:
  Writer(const ErofsReader& reader, BorrowedFd disk, BorrowedFd top, TreeOwners owners,
         const RootDiskLimits& limits)
      : reader_(reader), disk_(disk), top_(top), owners_(owners), limits_(limits) {}

  Result<RootTreeSummary> Run();

 private:
  struct Level {
    UniqueFd fd;
    Node node;
    std::vector<ErofsReader::Entry> entries;
    size_t next = 0;
    size_t path_length = 0;  // Of path_ without this level's name.
  };

  Result<void> Enter(UniqueFd fd, Node node, size_t path_length);
  Result<void> Leave();
  Result<void> Make(BorrowedFd parent, const ErofsReader::Entry& entry);
  Result<bool> MakeLink(BorrowedFd parent, const std::string& name, const Node& node);
  Result<void> MakeFile(BorrowedFd parent, const std::string& name, const Node& node);
  Result<void> MakeSymlink(BorrowedFd parent, const std::string& name, const Node& node);
  Result<void> MakeSpecial(BorrowedFd parent, const std::string& name, const Node& node);
  Result<void> Copy(BorrowedFd file, const ErofsReader::Extent& extent);
  Result<void> Finish(BorrowedFd file, const Node& node);
  Result<void> FinishNamed(BorrowedFd parent, const std::string& name, const Node& node);
  Result<void> SetXattrs(BorrowedFd file, const Node& node);

  const ErofsReader& reader_;
  BorrowedFd disk_, top_;
  TreeOwners owners_;
  const RootDiskLimits& limits_;
  RootTreeSummary summary_;
  std::vector<Level> levels_;
  std::string path_;  // Of what is being written, from the top.
  std::set<uint64_t> directories_;
  std::map<uint64_t, std::string> linked_;  // Files with several names: the first one's path.
  uint64_t entries_ = 0;
};

Result<RootTreeSummary> Writer::Run() {
  TRY(Enter(TRY(sys::Duplicate(top_)), TRY(reader_.Load(reader_.root())), 0));
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.next == level.entries.size()) {
      TRY(Leave().Context(Escape(path_)));
      continue;
    }
    // Copied: Make() may move the levels.
    ErofsReader::Entry entry = std::move(level.entries[level.next++]);
    size_t before = path_.size();
    path_ += Cat(path_.empty() ? "" : "/", entry.name);
    if (path_.size() >= limits_.path_bytes)
      return Bad(Cat("a path of more than ", limits_.path_bytes, " bytes"));
    size_t depth = levels_.size();
    TRY(Make(level.fd, entry).Context(Escape(path_)));
    if (levels_.size() == depth) path_.resize(before);
  }
  return summary_;
}

Result<void> Writer::Enter(UniqueFd fd, Node node, size_t path_length) {
  if (!S_ISDIR(node.mode)) return Bad("its root is no directory");
  if (!directories_.insert(node.nid).second) return Bad("a directory has two names");
  if (levels_.size() == kMaxTreeDepth)
    return Error(Code::kFailedPrecondition,
                 Cat("directories are nested more than ", kMaxTreeDepth, " deep"))
        .Remedy("use --isolation vm or vm-emulated, which mount the disk as it is");
  summary_.directories++;
  auto entries = TRY(reader_.List(node));
  entries_ += entries.size();
  if (entries_ > limits_.entries) return Bad(Cat("more than ", limits_.entries, " entries"));
  levels_.push_back({std::move(fd), std::move(node), std::move(entries), 0, path_length});
  return {};
}

Result<void> Writer::Leave() {
  TRY(Finish(levels_.back().fd, levels_.back().node));
  path_.resize(levels_.back().path_length);
  levels_.pop_back();
  return {};
}

Result<void> Writer::Make(BorrowedFd parent, const ErofsReader::Entry& entry) {
  Node node = TRY(reader_.Load(entry.nid));
  const std::string& name = entry.name;
  if (S_ISDIR(node.mode)) {
    TRY(sys::MkdirAt(parent, name, 0700));
    UniqueFd fd = TRY(sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    size_t slash = path_.size() - name.size();
    return Enter(std::move(fd), std::move(node), slash == 0 ? 0 : slash - 1);
  }
  if (TRY(MakeLink(parent, name, node))) return {};
  switch (node.mode & S_IFMT) {
    case S_IFREG:
      return MakeFile(parent, name, node);
    case S_IFLNK:
      return MakeSymlink(parent, name, node);
    case S_IFIFO:
    case S_IFSOCK:
      return MakeSpecial(parent, name, node);
    case S_IFCHR:
    case S_IFBLK:
      summary_.devices_left_out++;
      return {};
    default:
      return Bad("a file of unknown type");
  }
}

Result<bool> Writer::MakeLink(BorrowedFd parent, const std::string& name, const Node& node) {
  if (node.links < 2) return false;
  auto [first, is_new] = linked_.emplace(node.nid, path_);
  if (is_new) return false;
  // Every directory on the way is one that we made: there is no link to follow.
  if (::linkat(top_.get(), first->second.c_str(), parent.get(), name.c_str(), 0) == 0) return true;
  // The first name was a device's.
  if (errno == ENOENT && (S_ISCHR(node.mode) || S_ISBLK(node.mode))) return false;
  return Error::Errno("link");
}

Result<void> Writer::MakeFile(BorrowedFd parent, const std::string& name, const Node& node) {
  UniqueFd file = TRY(sys::OpenAt(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (node.size > limits_.file_bytes) return Bad("a file that is too large");
  TRY(reader_.ForEachExtent(node,
                            [&](const ErofsReader::Extent& extent) { return Copy(file, extent); }));
  TRY(sys::Truncate(file, static_cast<off_t>(node.size)));
  summary_.files++;
  return Finish(file, node);
}

Result<void> Writer::Copy(BorrowedFd file, const ErofsReader::Extent& extent) {
  summary_.bytes += extent.bytes;
  if (summary_.bytes > reader_.image_bytes()) return Bad("contents that overlap");
  auto from = static_cast<off_t>(extent.from), to = static_cast<off_t>(extent.offset);
  uint64_t left = extent.bytes;
  // In the kernel, and without a copy where the file system shares blocks; else by hand.
  while (left > 0) {
    ssize_t n = ::copy_file_range(disk_.get(), &from, file.get(), &to, left, 0);
    if (n == -1 && errno == EINTR) continue;
    if (n == -1 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
      return Error::Errno("copy_file_range");
    if (n <= 0) break;
    left -= static_cast<uint64_t>(n);
  }
  std::vector<std::byte> buffer(std::min<uint64_t>(left, kCopyBytes));
  while (left > 0) {
    auto part = std::span(buffer).first(std::min<uint64_t>(left, buffer.size()));
    TRY(sys::ReadExactlyAt(disk_, part, from));
    TRY(sys::WriteAllAt(file, part, to));
    from += static_cast<off_t>(part.size());
    to += static_cast<off_t>(part.size());
    left -= part.size();
  }
  return {};
}

Result<void> Writer::MakeSymlink(BorrowedFd parent, const std::string& name, const Node& node) {
  TRY(sys::SymlinkAt(TRY(reader_.Target(node)), parent, name));
  summary_.symlinks++;
  return FinishNamed(parent, name, node);
}

Result<void> Writer::MakeSpecial(BorrowedFd parent, const std::string& name, const Node& node) {
  if (::mknodat(parent.get(), name.c_str(), (node.mode & S_IFMT) | 0600, 0) == -1)
    return Error::Errno("mknod");
  TRY(FinishNamed(parent, name, node));
  // Nobody else is here to put a link in its place.
  if (::fchmodat(parent.get(), name.c_str(), node.mode & 07777, 0) == -1)
    return Error::Errno("chmod");
  return {};
}

// Owner and time of what cannot be opened; its attributes are counted.
Result<void> Writer::FinishNamed(BorrowedFd parent, const std::string& name, const Node& node) {
  if (owners_ == TreeOwners::kOfImage && SetOwner(parent, name.c_str(), node) == -1)
    return Error::Errno("chown");
  timespec times[2] = {{0, UTIME_OMIT}, {node.mtime, static_cast<long>(node.mtime_nsec)}};
  if (::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) == -1)
    return Error::Errno("set the time");
  summary_.dropped_xattrs += node.xattrs.size();
  return {};
}

// A change of owner takes setuid bits away, and a mode without write forbids attributes.
Result<void> Writer::Finish(BorrowedFd file, const Node& node) {
  if (owners_ == TreeOwners::kOfImage && SetOwner(file, "", node) == -1)
    return Error::Errno("chown");
  TRY(SetXattrs(file, node));
  if (::fchmod(file.get(), node.mode & 07777) == -1) return Error::Errno("chmod");
  timespec times[2] = {{0, UTIME_OMIT}, {node.mtime, static_cast<long>(node.mtime_nsec)}};
  if (::futimens(file.get(), times) == -1) return Error::Errno("set the time");
  return {};
}

Result<void> Writer::SetXattrs(BorrowedFd file, const Node& node) {
  for (const Xattr& xattr : node.xattrs) {
    bool plain = xattr.name.starts_with("user.") && !xattr.name.starts_with("user.overlay.");
    bool acl = IsAcl(xattr.name) && owners_ == TreeOwners::kOfImage;
    if (!plain && !acl) {
      summary_.dropped_xattrs++;
      continue;
    }
    if (::fsetxattr(file.get(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) == 0)
      continue;
    // A file system without attributes, or without room for this one in particular.
    if (errno != EOPNOTSUPP && errno != E2BIG && errno != EPERM && errno != EINVAL)
      return Error::Errno(Cat("setxattr ", Escape(xattr.name, 255)));
    summary_.dropped_xattrs++;
  }
  return {};
}

}  // namespace

Result<RootTreeSummary> WriteRootTree(BorrowedFd disk, BorrowedFd directory, TreeOwners owners,
                                      const RootDiskLimits& limits) {
  ErofsReader reader = TRY(ErofsReader::Open(disk));
  return Writer(reader, disk, directory, owners, limits).Run();
}

}  // namespace msb::rootfs
