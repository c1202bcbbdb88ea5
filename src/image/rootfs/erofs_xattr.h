// SPDX-License-Identifier: Apache-2.0
// Extended attributes as they follow an inode on disk.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "image/rootfs/tree.h"

namespace msb::rootfs {

// Whether EROFS has a place for an attribute of this name. The other two take only such.
bool CanStoreXattr(std::string_view name);

// Bytes between the inode and what follows, the header included. `xattrs` is not empty.
uint64_t XattrBytes(std::span<const Xattr> xattrs);
void EncodeXattrs(std::span<const Xattr> xattrs, std::vector<std::byte>& out);

}  // namespace msb::rootfs
