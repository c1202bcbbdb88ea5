// SPDX-License-Identifier: Apache-2.0
// Root disks: turns a tar, a directory or a stack of layers into a read-only EROFS image without
// unpacking anything, so an ordinary user gets owners, devices and capabilities right too.
//
// The tree is kept in memory (about 300 bytes an entry, and files up to 1 KiB whole) and touches no
// file of the host, so hostile names have nothing to climb into. File contents go straight to their
// place in the image while the input streams by. The same input gives the same bytes.
//
//   auto summary = TRY(rootfs::WriteRootDiskFromTar(tar, out, {}));

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::rootfs {

// Hostile archives stop at these; the error names the entry and the limit.
struct RootDiskLimits {
  uint64_t entries = 2'000'000;                // Names, over all layers.
  uint64_t input_bytes = uint64_t{256} << 30;  // After decompression: the answer to bombs.
  uint64_t image_bytes = uint64_t{256} << 30;  // At most 16 TiB, what EROFS can address.
  uint64_t file_bytes = uint64_t{1} << 40;     // Apparent size of one file, holes included.
  uint64_t memory_bytes = uint64_t{2} << 30;   // Tree, small contents, attributes.
  uint32_t path_bytes = 4096;                  // One path, and one symlink target less one.
  uint32_t xattr_bytes = 65536;                // Names and values of one file.
};

struct RootDiskSummary {
  uint64_t image_bytes = 0;
  uint64_t input_bytes = 0;  // Tar bytes after decompression, or file bytes of a directory.
  uint64_t files = 0;        // Regular files; the other three are what their names say.
  uint64_t directories = 0;
  uint64_t symlinks = 0;
  uint64_t special_files = 0;      // Devices, FIFOs, sockets.
  uint64_t extra_hard_links = 0;   // Names beyond the first of a file.
  uint64_t overwritten_bytes = 0;  // Content of files that a later entry replaced; still in there.
  // Attributes that EROFS has no place for (not user., trusted., security. or a POSIX ACL), or an
  // ACL of names without numbers.
  uint64_t dropped_xattrs = 0;
  std::string first_dropped_xattr;  // "attribute of entry", for a message.
};

struct RootDiskOptions {
  RootDiskLimits limits;
  // Told the input bytes so far about once a MiB; an error from it stops the work (cancellation).
  std::function<Result<void>(uint64_t input_bytes)> progress;
};

enum class TarKind : uint8_t {
  kPlain,  // Names that look like whiteouts are just names.
  kLayer,  // OCI: `.wh.NAME` and `.wh..wh..opq` remove what lower layers had.
};

// Sees every byte of the tar after decompression, in order and to the end of the input: for the
// SHA-256 that OCI calls diff_id.
using TarTap = std::function<void(std::span<const std::byte>)>;

// One image from any number of layers, lowest first. `out` is an empty regular file, written with
// pwrite and ftruncate and not synced. After an error the builder is only good for destruction and
// the file's content means nothing.
class RootDiskBuilder {
 public:
  static Result<RootDiskBuilder> Create(BorrowedFd out, RootDiskOptions options);
  RootDiskBuilder(RootDiskBuilder&&) noexcept;
  RootDiskBuilder& operator=(RootDiskBuilder&&) noexcept;
  ~RootDiskBuilder();

  // Reads from the current position to the end. Plain, gzip or zstd, told apart by their first
  // bytes; nothing but tar inside. A tar without its end marker is truncated, an error.
  Result<void> AddTar(BorrowedFd tar, TarKind kind, TarTap tap = {});
  // Everything below `directory`, mount points included. Symlinks are kept, never followed. A file
  // that cannot be read, or whose size changes meanwhile, is an error that names it.
  Result<void> AddDirectory(BorrowedFd directory);
  Result<RootDiskSummary> Finish() &&;

 private:
  struct State;
  explicit RootDiskBuilder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

Result<RootDiskSummary> WriteRootDiskFromTar(BorrowedFd tar, BorrowedFd out,
                                             RootDiskOptions options, TarTap tap = {});
Result<RootDiskSummary> WriteRootDiskFromDirectory(BorrowedFd directory, BorrowedFd out,
                                                   RootDiskOptions options);

}  // namespace msb::rootfs
