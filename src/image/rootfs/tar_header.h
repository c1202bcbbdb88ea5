// SPDX-License-Identifier: Apache-2.0
// One 512-byte tar header block, taken apart. Pure.
//
// Three dialects share the block: the old one of Unix V7 (no magic), ustar (POSIX 1988: a prefix
// for long names at 345) and GNU (times and a sparse map where ustar has the prefix). Numbers are
// octal text, or, with the first byte's high bit set, big-endian binary (GNU's base-256). Names are
// bytes and stay bytes: no character set is assumed anywhere. User and group names are ignored;
// only the numbers mean something inside an image.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/rootfs/content.h"

namespace msb::rootfs {

inline constexpr size_t kTarBlock = 512;
using TarBlock = std::span<const std::byte, kTarBlock>;

struct TarHeader {
  char type = '0';
  std::string path;
  std::string link;
  uint32_t permissions = 0;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;
  int64_t mtime = 0;
  int64_t device_major = 0;
  int64_t device_minor = 0;
};

bool IsZeroBlock(TarBlock block);

// Fails when the checksum is wrong or a number is none.
Result<TarHeader> ParseTarHeader(TarBlock block);

// The sparse map of GNU's old format: four entries in the header (type 'S'), 21 in each extension
// block that follows while `more`.
struct OldSparseMap {
  std::vector<DataSegment> segments;
  bool more = false;
  int64_t real_size = 0;  // In the header only.
};
Result<OldSparseMap> ParseOldSparseHeader(TarBlock header);
Result<OldSparseMap> ParseOldSparseExtension(TarBlock block);

}  // namespace msb::rootfs
