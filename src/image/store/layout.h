// SPDX-License-Identifier: Apache-2.0
// Where things are below images/, and the reference file; private to this module.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/reference.h"
#include "image/store/store.h"
#include "sys/file.h"

namespace msb::store {

inline constexpr char kRefs[] = "refs";
inline constexpr char kBlobs[] = "blobs/sha256";
inline constexpr char kDisks[] = "disks/sha256";
inline constexpr char kTrees[] = "trees/sha256";
inline constexpr char kTemp[] = "tmp";
inline constexpr char kLock[] = "lock";
inline constexpr char kDiskSuffix[] = ".erofs";
inline constexpr char kTreeLock[] = "lock";  // In a tree's directory, beside kTreeRoot.
inline constexpr char kTreeRoot[] = "root";

// A reference as a file name: "/" becomes "+", which no reference holds.
std::string RefName(const Reference& reference);
// The same for text that may be no reference, and back.
std::string TextToRefName(std::string text);
std::string RefNameToText(std::string ref_name);
std::string RefPath(std::string_view ref_name);
std::string BlobPath(const Digest& digest);
std::string DiskPath(const Digest& manifest);
// In kTrees: the owners of a tree's files are numbers that only its maker can use, and only as
// `ids` has them. In kTemp a name of its own stands in the place of the manifest's digits.
std::string TreeName(std::string_view hex, const TreeIds& ids);
// The manifest's digits of such a name, and of any other name what is before a "-".
std::string_view ManifestOfTree(std::string_view tree_name);
// Of a name of another shape, none.
struct TreeOwner {
  uint32_t uid = 0;
  TreeIds ids;

  bool operator==(const TreeOwner&) const = default;
};
std::optional<TreeOwner> OwnerOfTree(std::string_view tree_name);

// The content of a reference file: all that a start needs to know beside the config document.
struct RefRecord {
  Reference reference;
  Digest manifest;
  Digest config;
  uint64_t disk_bytes = 0;
  std::chrono::sys_seconds stored_at;
};
std::string WriteRefRecord(const RefRecord& record);
Result<RefRecord> ParseRefRecord(std::string_view json);

// Makes what is missing of images/.
Result<UniqueFd> EnsureLayout(BorrowedFd home);

enum class LockMode : uint8_t { kShared, kExclusive };
// Waits. Commits take it shared and briefly; only gc takes it exclusive.
Result<sys::FileLock> LockImages(BorrowedFd images, LockMode mode);

// Sets the directory `name` in `parent` aside, in tmp/, and removes it with all that is in it.
// Its lock is held exclusive, or it has none.
Result<void> RemoveTree(BorrowedFd images, BorrowedFd parent, const std::string& name);
// Does it where the files of the tree of this name are the worker's; here where they are the
// caller's own.
Result<uint64_t> WorkOnTree(const TreeWorker& worker, std::string_view name,
                            const std::function<Result<uint64_t>()>& work);
// Of disk space; what cannot be looked at counts nothing.
uint64_t TreeBytes(BorrowedFd parent, const std::string& name);

}  // namespace msb::store
