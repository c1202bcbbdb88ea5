// SPDX-License-Identifier: Apache-2.0
// Lays out a finished tree as EROFS metadata behind the contents that are already in the image.

#pragma once

#include <cstdint>

#include "base/result.h"
#include "image/rootfs/image_file.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

// The first block is the superblock's; contents begin behind it.
inline constexpr uint64_t kFirstContent = 4096;

// Appends directories and inodes, then writes the superblock. `image` is at a block's start.
Result<void> WriteMetadata(ImageFile& image, const Tree& tree);

}  // namespace msb::rootfs
