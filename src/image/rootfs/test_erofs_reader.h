// SPDX-License-Identifier: Apache-2.0
// For tests: reads an image back, strictly, from what the format says and not from how we write it.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

struct SeenFile {
  uint32_t mode = 0;  // With the type.
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  uint64_t size = 0;
  uint32_t device = 0;
  uint64_t nid = 0;
  std::string content;  // Of files and symlinks, holes as zeros; files over 64 MiB stay empty.
  bool chunked = false;
  bool inlined = false;
  std::vector<Xattr> xattrs;
};

// By path without a leading slash; "" is the root.
using SeenTree = std::map<std::string, SeenFile>;

// Fails on anything that breaks a rule of the format: checksum, order of names, tails across
// blocks, addresses outside the image, wrong directory types or ".." entries.
Result<SeenTree> ReadErofs(BorrowedFd image);

}  // namespace msb::rootfs
