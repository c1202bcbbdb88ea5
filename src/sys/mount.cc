// SPDX-License-Identifier: Apache-2.0
// fsopen, fsconfig, fsmount, open_tree, mount_setattr, move_mount by number: glibc 2.36 has some.

#include "sys/mount.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

namespace msb::sys {
namespace {

constexpr unsigned kOpenTreeClone = 1;
constexpr unsigned kOpenTreeCloexec = O_CLOEXEC;
constexpr unsigned kRecursive = 0x8000;  // AT_RECURSIVE
constexpr unsigned kMoveFromEmptyPath = 4;
constexpr unsigned kMoveToEmptyPath = 0x40;
constexpr unsigned kFsopenCloexec = 1;
constexpr unsigned kFsmountCloexec = 1;
constexpr unsigned kConfigFlag = 0;    // FSCONFIG_SET_FLAG
constexpr unsigned kConfigString = 1;  // FSCONFIG_SET_STRING
constexpr unsigned kConfigCreate = 6;  // FSCONFIG_CMD_CREATE

constexpr uint64_t kIdMapped = 0x0010'0000;  // MOUNT_ATTR_IDMAP

struct MountAttributes {
  uint64_t set;
  uint64_t clear;
  uint64_t propagation;
  uint64_t userns_fd;
};

}  // namespace

int RawOpenTree(int dir, const char* path, bool recursive) {
  unsigned flags = kOpenTreeClone | kOpenTreeCloexec | (recursive ? kRecursive : 0);
  return static_cast<int>(::syscall(SYS_open_tree, dir, path, flags));
}

int RawCopyMount(int mount) {
  unsigned flags = kOpenTreeClone | kOpenTreeCloexec | AT_EMPTY_PATH;
  return static_cast<int>(::syscall(SYS_open_tree, mount, "", flags));
}

int RawSetMountAttributes(int mount, uint64_t set, bool recursive) {
  MountAttributes attributes{set, 0, MS_PRIVATE, 0};
  unsigned flags = AT_EMPTY_PATH | (recursive ? kRecursive : 0);
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, mount, "", flags, &attributes, sizeof attributes));
}

int RawMoveMount(int mount, int dir, const char* path) {
  return static_cast<int>(::syscall(SYS_move_mount, mount, "", dir, path, kMoveFromEmptyPath));
}

int RawMapMountIds(int mount, int userns, bool recursive) {
  MountAttributes attributes{kIdMapped, 0, MS_PRIVATE, static_cast<uint64_t>(userns)};
  unsigned flags = AT_EMPTY_PATH | (recursive ? kRecursive : 0);
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, mount, "", flags, &attributes, sizeof attributes));
}

int RawAttachMount(int mount, int target) {
  return static_cast<int>(
      ::syscall(SYS_move_mount, mount, "", target, "", kMoveFromEmptyPath | kMoveToEmptyPath));
}

int RawOpenIn(int root, const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  long fd = -1;
  // EAGAIN: a rename elsewhere made ".." undecidable (openat2(2)). Nobody races us for ever.
  for (int i = 0; i < 100; i++) {
    fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd != -1 || errno != EAGAIN) break;
  }
  return static_cast<int>(fd);
}

int RawNewFilesystem(const char* type, std::span<const MountOption> options, uint64_t attributes) {
  auto fs = static_cast<int>(::syscall(SYS_fsopen, type, kFsopenCloexec));
  if (fs == -1) return -1;
  long rc = 0;
  for (const MountOption& option : options) {
    unsigned kind = option.value == nullptr ? kConfigFlag : kConfigString;
    if (rc == 0) rc = ::syscall(SYS_fsconfig, fs, kind, option.key, option.value, 0);
  }
  if (rc == 0) rc = ::syscall(SYS_fsconfig, fs, kConfigCreate, nullptr, nullptr, 0);
  if (rc == 0) rc = ::syscall(SYS_fsmount, fs, kFsmountCloexec, attributes);
  int err = errno;
  ::close(fs);
  errno = err;
  return static_cast<int>(rc);
}

int RawNewTmpfs(const char* size, uint64_t attributes) {
  const MountOption options[] = {{"size", size}, {"mode", "0755"}};
  return RawNewFilesystem("tmpfs", options, attributes);
}

int RawMakeMountTarget(int dir, const char* path, bool directory) {
  char part[PATH_MAX];
  size_t length = std::strlen(path);
  if (length >= sizeof part) {
    errno = ENAMETOOLONG;
    return -1;
  }
  for (size_t i = 0; i <= length; i++) {
    bool last = i == length;
    if (!last && path[i] != '/') continue;
    std::memcpy(part, path, i);
    part[i] = '\0';
    if (last && !directory) {
      int fd = ::openat(dir, part, O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
      if (fd == -1) return -1;
      ::close(fd);
    } else if (::mkdirat(dir, part, 0755) == -1 && errno != EEXIST) {
      return -1;
    }
  }
  return 0;
}

}  // namespace msb::sys
