// SPDX-License-Identifier: Apache-2.0
// Reads a root disk back, for root trees: the subset of EROFS that erofs_format.h describes and the
// writer writes. The disk was made of a stranger's archive and may have been changed since: every
// number is checked before it is used, and what is not in the subset is kDataLoss.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/rootfs/erofs_format.h"
#include "image/rootfs/tree.h"

namespace msb::rootfs {

class ErofsReader {
 public:
  struct Node {
    uint64_t nid = 0;
    uint32_t mode = 0;  // With the type.
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t links = 0;
    int64_t mtime = 0;
    uint32_t mtime_nsec = 0;
    uint64_t size = 0;
    std::vector<Xattr> xattrs;

    erofs::Layout layout = erofs::Layout::kFlatPlain;
    uint32_t data = 0;   // As the inode's.
    uint64_t after = 0;  // Where in the image the inode and its attributes end.
  };
  struct Entry {
    std::string name;  // Not empty, no "/" and no NUL, not "." or "..".
    uint64_t nid = 0;
  };
  // Bytes of a file that lie together in the image. What no extent covers is a hole.
  struct Extent {
    uint64_t offset = 0;  // In the file.
    uint64_t from = 0;    // In the image; `from + bytes` is within it.
    uint64_t bytes = 0;
  };

  // `image` stays open while the reader is used.
  static Result<ErofsReader> Open(BorrowedFd image);

  uint64_t root() const { return root_; }
  uint64_t image_bytes() const { return size_; }
  Result<Node> Load(uint64_t nid) const;
  // Of a directory, in their order, without "." and "..".
  Result<std::vector<Entry>> List(const Node& directory) const;
  Result<std::string> Target(const Node& symlink) const;
  // In the file's order, none of them empty.
  Result<void> ForEachExtent(const Node& file,
                             const std::function<Result<void>(const Extent&)>& each) const;

 private:
  ErofsReader(BorrowedFd image, uint64_t size) : image_(image), size_(size) {}
  Result<std::string> Bytes(uint64_t at, uint64_t count) const;
  Result<std::string> Content(const Node& node, uint64_t limit) const;
  Result<void> EachChunk(const Node& file,
                         const std::function<Result<void>(const Extent&)>& each) const;

  BorrowedFd image_;
  uint64_t size_;
  uint64_t meta_ = 0;  // Where nid 0 would be.
  uint64_t root_ = 0;
  bool chunked_ = false;
};

}  // namespace msb::rootfs
