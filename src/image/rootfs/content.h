// SPDX-License-Identifier: Apache-2.0
// Puts one regular file's bytes into the image and says where they lie.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "image/rootfs/image_file.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

// A stretch of a file that is not a hole.
struct DataSegment {
  uint64_t offset;
  uint64_t length;

  friend bool operator==(const DataSegment&, const DataSegment&) = default;
};

// The bytes of the segments, one after the other.
class DataSource {
 public:
  virtual ~DataSource() = default;
  // The next bytes, at least one and at most `most`; valid until the next call. Fails at the end.
  virtual Result<std::span<const std::byte>> Read(uint64_t most) = 0;
};

// Files up to this size live in the metadata beside their inode. Measured on a Debian tree, see
// README.md: larger limits shrink the image a little and spread the inodes over more pages.
inline constexpr uint64_t kSmallFile = 1024;

// `segments` are not empty, ascend, do not overlap and end by `size`; else it is an error.
Result<Content> StoreContent(ImageFile& image, uint64_t size, std::span<const DataSegment> segments,
                             DataSource& source);

}  // namespace msb::rootfs
