// SPDX-License-Identifier: Apache-2.0
// The mount interface by descriptor (Linux 5.2, attributes 5.12): trees are opened, sealed and then
// attached, so a mount is never visible with fewer restrictions than it ends with.
//
// Between clone and exec, therefore raw: a descriptor or 0, else -1 with errno.

#pragma once

#include <cstdint>
#include <span>

namespace msb::sys {

// MOUNT_ATTR_*
inline constexpr uint64_t kMountReadOnly = 1;
inline constexpr uint64_t kMountNoSetuid = 2;
inline constexpr uint64_t kMountNoDevices = 4;
inline constexpr uint64_t kMountNoExec = 8;

// A detached copy of what is mounted at `path`, submounts included when `recursive`.
int RawOpenTree(int dir, const char* path, bool recursive);
// The same of an attached mount's own descriptor; the copy has its attributes.
int RawCopyMount(int mount);
// Also makes it private: a copy of a shared mount would hand on to the host what is mounted in it.
int RawSetMountAttributes(int mount, uint64_t set, bool recursive);
// Attaches a detached mount at `path` below `dir`.
int RawMoveMount(int mount, int dir, const char* path);
// Gives owners on the mount the meaning they have in the user namespace `userns` (Linux 5.12;
// overlay's layers 5.19), and makes it private. EINVAL: this file system cannot do that.
int RawMapMountIds(int mount, int userns, bool recursive);
// Attaches a detached mount upon an open directory or file.
int RawAttachMount(int mount, int target);
// openat2() with symbolic links, absolute ones too, and ".." kept beneath `root`
// (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
int RawOpenIn(int root, const char* path, uint64_t flags);

struct MountOption {
  const char* key;
  const char* value;  // nullptr: a flag.
};
// A new file system of `type`, not attached.
int RawNewFilesystem(const char* type, std::span<const MountOption> options, uint64_t attributes);
// A new tmpfs, not attached. `size` as tmpfs takes it: "1m".
int RawNewTmpfs(const char* size, uint64_t attributes);
// Directories on the way to `path` below `dir`, and at its end a directory or an empty file.
// Existing ones are fine.
int RawMakeMountTarget(int dir, const char* path, bool directory);

}  // namespace msb::sys
