// SPDX-License-Identifier: Apache-2.0
// Mounting the root. In the initramfs, whose only content is the agent, plain paths are safe; once
// the image is beneath, everything is reached by descriptor and never through a link.

#include "agent/root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

// Generous, but an end: a fork bomb meets this or the memory limit, not the agent.
constexpr std::string_view kMaxPids = "16384";
constexpr uint64_t kAgentMemory = 24ull << 20;

Result<void> MountAt(const char* source, const char* target, const char* type, unsigned long flags,
                     const std::string& options = {}) {
  if (::mount(source, target, type, flags, options.empty() ? nullptr : options.c_str()) == -1)
    return Error::Errno(Cat("mount ", source, " (", type, ") on ", target));
  return {};
}

// Opens the directory `path`, no link on the way; makes its last part when it is missing.
Result<UniqueFd> OpenTarget(BorrowedFd root, const std::string& path, mode_t mode = 0755) {
  auto open = [&] {
    return sys::OpenBeneath(root, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  };
  auto fd = open();
  if (fd.ok() || fd.error().code() != Code::kNotFound) return fd;
  TRY(sys::MkdirAt(root, path, mode));
  return open();
}

struct FileSystem {
  const char* path;
  const char* type;
  unsigned attributes;
  std::array<std::array<const char*, 2>, 3> options;
};

constexpr unsigned kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// In this order: what lies within another comes after it.
constexpr FileSystem kFileSystems[] = {
    {"proc", "proc", kPlain, {}},
    {"sys", "sysfs", kPlain, {}},
    {"sys/fs/cgroup", "cgroup2", kPlain, {}},
    {"dev", "devtmpfs", MOUNT_ATTR_NOSUID, {}},
    {"dev/pts",
     "devpts",
     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
     {{{"gid", "5"}, {"mode", "620"}, {"ptmxmode", "666"}}}},
    {"dev/shm", "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, {{{"mode", "1777"}}}},
    {"dev/mqueue", "mqueue", kPlain, {}},
};

Result<void> MountOne(BorrowedFd root, const FileSystem& what) {
  auto target = TRY(OpenTarget(root, what.path));
  UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, what.type, FSOPEN_CLOEXEC)));
  if (!context) return Error::Errno(Cat("fsopen ", what.type));
  for (const auto& [key, value] : what.options) {
    if (key == nullptr) break;
    if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value, 0) == -1)
      return Error::Errno(Cat("fsconfig ", what.type, " ", key));
  }
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == -1)
    return Error::Errno(Cat("fsconfig ", what.type));
  UniqueFd mount(
      static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, what.attributes)));
  if (!mount) return Error::Errno(Cat("fsmount ", what.type));
  if (::syscall(SYS_move_mount, mount.get(), "", target.get(), "",
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == -1)
    return Error::Errno("move_mount");
  return {};
}

Result<void> MakeDeviceLinks(BorrowedFd root) {
  constexpr std::array<std::array<const char*, 2>, 4> kLinks = {{{"/proc/self/fd", "dev/fd"},
                                                                 {"fd/0", "dev/stdin"},
                                                                 {"fd/1", "dev/stdout"},
                                                                 {"fd/2", "dev/stderr"}}};
  for (const auto& [target, path] : kLinks) {
    auto made = sys::SymlinkAt(target, root, path);
    if (!made.ok() && made.error().code() != Code::kAlreadyExists) return made;
  }
  return {};
}

Result<void> Bind(const Root& root, const std::string& name) {
  auto made = sys::MkdirAt(root.upper, name, 0711);
  if (!made.ok() && made.error().code() != Code::kAlreadyExists) return made;
  auto lib = TRY(OpenTarget(root.root, "var/lib"));
  auto target = TRY(OpenTarget(lib, name, 0711));
  UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, root.upper.get(), name.c_str(),
                                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) return Error::Errno(Cat("open_tree ", name));
  if (::syscall(SYS_move_mount, tree.get(), "", target.get(), "",
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == -1)
    return Error::Errno("move_mount");
  return {};
}

Result<void> WriteControl(BorrowedFd dir, const std::string& path, std::string_view value) {
  auto fd = TRY(sys::OpenAt(dir, path, O_WRONLY));
  return sys::WriteAll(fd, value).Context(path);
}

}  // namespace

Result<void> MountDev() {
  ::mkdir("/dev", 0755);
  return MountAt("devtmpfs", "/dev", "devtmpfs", MS_NOSUID);
}

Result<Root> MountRoot(const RootOptions& options) {
  for (const char* directory : {"/lower", "/upper", "/new"}) ::mkdir(directory, 0755);
  TRY(MountAt("/dev/vda", "/lower", "erofs", MS_RDONLY));
  TRY(MountAt("/dev/vdb", "/upper", "ext4", MS_NOATIME,
              options.keep_upper ? "discard" : "discard,noinit_itable,nobarrier"));
  for (const char* directory : {"/upper/upper", "/upper/work"}) ::mkdir(directory, 0755);
  // Left by a machine that ended in the middle; overlayfs refuses the disk while it is there.
  ::rmdir("/upper/work/work/incompat/volatile");
  // Without extended attributes for user namespaces (userxattr): root in the guest is real.
  TRY(MountAt("overlay", "/new", "overlay", 0,
              Cat("lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir=on,"
                  "index=off,xino=auto",
                  options.keep_upper ? "" : ",volatile")));
  Root root;
  root.upper = TRY(sys::OpenAt(sys::Cwd(), "/upper", O_RDONLY | O_DIRECTORY));
  // switch_root: in a plain chroot unshare(CLONE_NEWUSER) fails, and with it everything that makes
  // containers of its own.
  if (::chdir("/new") == -1) return Error::Errno("chdir /new");
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) == -1) return Error::Errno("move root onto /");
  if (::chroot(".") == -1) return Error::Errno("chroot");
  if (::chdir("/") == -1) return Error::Errno("chdir /");
  root.root = TRY(sys::OpenAt(sys::Cwd(), "/", O_RDONLY | O_DIRECTORY));
  return root;
}

Result<void> FinishRoot(const Root& root) {
  for (const auto& file_system : kFileSystems)
    TRY(MountOne(root.root, file_system).Context(Cat("mount /", file_system.path)));
  TRY(MakeDeviceLinks(root.root).Context("make links in /dev"));
  // As on every distribution: whoever mounts with it needs a user namespace or a setuid helper.
  if (::fchmodat(root.root.get(), "dev/fuse", 0666, 0) == -1 && errno != ENOENT)
    return Error::Errno("fchmodat /dev/fuse");
  if (auto made = sys::MkdirAt(root.root, "tmp", 0777); made.ok()) {
    auto tmp = TRY(sys::OpenAt(root.root, "tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (::fchmod(tmp.get(), 01777) == -1) return Error::Errno("fchmod /tmp");
  }
  return {};
}

Result<void> BindContainerStores(const Root& root) {
  for (const char* name : {"docker", "containers"})
    TRY(Bind(root, name).Context(Cat("bind /var/lib/", name)));
  return {};
}

Result<UniqueFd> MakeSandboxCgroup(const Root& root) {
  auto top = TRY(sys::OpenAt(root.root, "sys/fs/cgroup", O_PATH | O_DIRECTORY));
  constexpr std::string_view kControllers = "+cpu +memory +pids";
  TRY(WriteControl(top, "cgroup.subtree_control", kControllers));
  TRY(sys::MkdirAt(top, "sandbox", 0755));
  auto sandbox = TRY(sys::OpenAt(top, "sandbox", O_RDONLY | O_DIRECTORY));
  TRY(WriteControl(sandbox, "cgroup.subtree_control", kControllers));
  struct sysinfo info {};
  ::sysinfo(&info);
  uint64_t total = info.totalram * info.mem_unit;
  uint64_t limit = total > kAgentMemory ? total - kAgentMemory : 0;
  TRY(WriteControl(sandbox, "memory.max", Cat(std::max(limit, total / 2))));
  TRY(WriteControl(sandbox, "pids.max", kMaxPids));
  return sandbox;
}

Result<void> WriteEtcFile(BorrowedFd root, const std::string& name, std::string_view content) {
  // An image's /etc may be a link, which is followed inside of its root.
  auto etc = sys::OpenBeneath(root, "etc", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
  if (!etc) etc = TRY(OpenTarget(root, "etc"));
  auto there = TRY(sys::FindAt(*etc, name));
  // Truncating a plain file is cheaper on an overlay than a new one in its place.
  bool plain = there && S_ISREG(there->st_mode);
  if (there && !plain) TRY(sys::UnlinkAt(*etc, name));
  auto fd = TRY(
      sys::OpenAt(*etc, name, O_WRONLY | O_NOFOLLOW | (plain ? O_TRUNC : O_CREAT | O_EXCL), 0644));
  return sys::WriteAll(fd, content);
}

}  // namespace msb::agent
