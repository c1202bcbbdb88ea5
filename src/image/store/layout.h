// SPDX-License-Identifier: Apache-2.0
// Where things are below images/, and the reference file; private to this module.

#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/reference.h"
#include "sys/file.h"

namespace msb::store {

inline constexpr char kRefs[] = "refs";
inline constexpr char kBlobs[] = "blobs/sha256";
inline constexpr char kDisks[] = "disks/sha256";
inline constexpr char kTemp[] = "tmp";
inline constexpr char kLock[] = "lock";
inline constexpr char kDiskSuffix[] = ".erofs";

// A reference as a file name: "/" becomes "+", which no reference holds.
std::string RefName(const Reference& reference);
// The same for text that may be no reference, and back.
std::string TextToRefName(std::string text);
std::string RefNameToText(std::string ref_name);
std::string RefPath(std::string_view ref_name);
std::string BlobPath(const Digest& digest);
std::string DiskPath(const Digest& manifest);

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

}  // namespace msb::store
