// SPDX-License-Identifier: Apache-2.0
// Walks a directory of the host in a fixed order, entry by entry, never following a symlink.

#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/rootfs/content.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

struct DirectoryEntry {
  std::string path;  // Relative to the directory; "." for itself, which comes first.
  FileKind kind = FileKind::kRegular;
  Attributes attributes;
  uint32_t device = 0;
  uint64_t size = 0;
  std::vector<DataSegment> segments;  // Of regular files, holes left out.
  std::string link;                   // Of symlinks.
  std::optional<InodeIndex> link_of;  // Another name of what was remembered as this.
};

class DirectoryReader : public DataSource {
 public:
  explicit DirectoryReader(BorrowedFd root) : root_(root) {}

  Result<bool> Next(DirectoryEntry& entry);
  // The data of the current file's segments.
  Result<std::span<const std::byte>> Read(uint64_t most) override;
  // After the last byte: an error when the file was written to meanwhile.
  Result<void> CheckUnchanged();
  // The current entry became `inode`; its other names will say so.
  void Remember(InodeIndex inode);

 private:
  Result<void> Describe(DirectoryEntry& entry);
  Result<void> DescribeFile(DirectoryEntry& entry);

  BorrowedFd root_;
  bool started_ = false;
  std::vector<std::string> todo_;  // The next one last.
  UniqueFd file_;
  struct stat stat_ {};
  std::vector<DataSegment> segments_;
  size_t segment_ = 0;
  uint64_t in_segment_ = 0;
  std::vector<std::byte> buffer_;
  std::map<std::pair<dev_t, ino_t>, InodeIndex> links_;
};

}  // namespace msb::rootfs
