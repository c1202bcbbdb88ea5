// SPDX-License-Identifier: Apache-2.0
// pax extended headers: what they say about the entry that follows. Pure.
//
// A pax header (tar type 'x'; 'g' for all that follow) is a list of records "LENGTH KEY=VALUE\n",
// LENGTH counting the whole record. Values are bytes: an attribute's value may hold NULs and
// newlines. We know the keys of POSIX (path, linkpath, size, uid, gid, mtime), extended attributes
// as star and GNU tar write them (SCHILY.xattr.NAME, raw) and as libarchive does
// (LIBARCHIVE.xattr.NAME, the name percent-encoded, the value in base64), POSIX ACLs as text
// (SCHILY.acl.*), and GNU's sparse files 0.0, 0.1 and 1.0. Others do not change what a file is.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/rootfs/content.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

inline constexpr size_t kMaxSparseSegments = 262144;

struct PaxTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

struct PaxHeader {
  std::optional<std::string> path;
  std::optional<std::string> link;
  std::optional<int64_t> size;
  std::optional<int64_t> uid;
  std::optional<int64_t> gid;
  std::optional<PaxTime> mtime;
  std::optional<int64_t> device_major;
  std::optional<int64_t> device_minor;
  std::vector<Xattr> xattrs;
  std::string acl_access;  // As text.
  std::string acl_default;

  // GNU.sparse.*: `sparse` when any says so; with `map_in_data` (1.0) the map precedes the data.
  bool sparse = false;
  bool map_in_data = false;
  std::optional<std::string> sparse_path;
  std::optional<int64_t> sparse_size;
  std::vector<DataSegment> segments;
};

// Adds the records to `header`, later ones winning over earlier ones and over what was there.
Result<void> ParsePaxRecords(std::span<const std::byte> records, PaxHeader& header);

// "123", "-1.5", "1700000000.123456789"; digits beyond nanoseconds are cut off downwards.
std::optional<PaxTime> ParsePaxTime(std::string_view text);

std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace msb::rootfs
