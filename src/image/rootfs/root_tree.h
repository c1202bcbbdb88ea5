// SPDX-License-Identifier: Apache-2.0
// Root trees: a root disk unpacked into a directory, for process sandboxes. EROFS cannot be mounted
// in a user namespace, so these have the same files as a tree below their overlay.
//
// What is not written, because no process sandbox could make use of it: devices (the sandbox has a
// /dev of its own, everything else is mounted nodev), file capabilities and other attributes of
// security.* (nosuid), trusted.*, and overlayfs's own attributes, which would tell the kernel how
// to mount the tree.

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "image/rootfs/root_disk.h"

namespace msb::rootfs {

// Directories within directories: a descriptor for each is open at once, by whoever removes the
// tree as well.
inline constexpr size_t kMaxTreeDepth = 500;

enum class TreeOwners : uint8_t {
  // Each file's own ids: as numbers of this host, by root, for an ID-mapped mount; or of the user
  // namespace that this runs in, where those from 65536 on that it has not become nobody's.
  kOfImage,
  kCaller,  // All files are the caller's, as an ordinary user can write them.
};

struct RootTreeSummary {
  uint64_t files = 0;
  uint64_t directories = 0;
  uint64_t symlinks = 0;
  uint64_t bytes = 0;  // Of contents.
  uint64_t devices_left_out = 0;
  uint64_t dropped_xattrs = 0;
};

// `directory` is empty and nobody else's. The disk is hostile (erofs_reader.h): a directory that is
// named twice, or contents of more bytes than the disk has, end the work with kDataLoss. After an
// error the directory's content means nothing.
Result<RootTreeSummary> WriteRootTree(BorrowedFd disk, BorrowedFd directory, TreeOwners owners,
                                      const RootDiskLimits& limits = {});

}  // namespace msb::rootfs
