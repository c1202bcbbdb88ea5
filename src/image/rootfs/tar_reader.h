// SPDX-License-Identifier: Apache-2.0
// Reads a tar stream entry by entry: V7, ustar, pax and GNU, with GNU's and pax's sparse files.
//
// Why not libarchive, which reads every dialect: an archive cut off between two entries, or one
// with a lone block of zeros inside, comes back from it as a shorter archive and no error (3.6.2,
// and tested here), which is exactly the image we must not make; and it has no place to see the
// decompressed bytes for diff_id. tar_reader_test.cc holds both cases.
//
// Strict where a mistake would lose content: checksum, truncation, the two zero blocks at the end,
// nothing but zeros after them. Unknown entry types are refused by name.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/rootfs/content.h"
#include "image/rootfs/input_stream.h"
#include "image/rootfs/pax.h"
#include "image/rootfs/tar_header.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

struct TarEntry {
  std::string path;  // As written, "./" and all.
  std::string link;  // Target of a symlink or of a hard link.
  bool hard_link = false;
  FileKind kind = FileKind::kRegular;
  Attributes attributes;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t size = 0;                  // Apparent, holes included.
  std::vector<DataSegment> segments;  // Without empty ones; one over all of a file without holes.
  // Attributes that could not be had: an ACL that names users without numbers.
  std::vector<std::string> lost_xattrs;
};

class TarReader : public DataSource {
 public:
  TarReader(InputStream& input, const RootDiskLimits& limits) : input_(input), limits_(limits) {}

  // The next entry into `entry`; false after the last, when the whole input has been read. What was
  // not read of the entry before is skipped.
  Result<bool> Next(TarEntry& entry);
  // The data of the current entry's segments.
  Result<std::span<const std::byte>> Read(uint64_t most) override;

 private:
  Result<TarBlock> ReadBlock();
  Result<bool> NextHeader(TarHeader& header, PaxHeader& pax);
  Result<void> ReadEnd();
  Result<std::string> ReadMeta(const TarHeader& header);
  Result<void> SkipRest();
  Result<void> Describe(const TarHeader& header, PaxHeader& pax, TarEntry& entry);
  Result<void> DescribeSparse(const TarHeader& header, PaxHeader& pax, TarEntry& entry);
  Result<std::vector<DataSegment>> ReadSparseMap();

  InputStream& input_;
  const RootDiskLimits limits_;
  PaxHeader global_;
  uint64_t data_left_ = 0;     // Of the entry, still in the stream.
  uint32_t padding_left_ = 0;  // Up to the next block, after the data.
  OldSparseMap old_sparse_;    // Of an entry of type 'S'.
};

}  // namespace msb::rootfs
