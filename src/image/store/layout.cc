// SPDX-License-Identifier: Apache-2.0
// File names, the reference file's codec, and the lock.
#include "image/store/layout.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "json/codec.h"

namespace msb::store {
namespace {

// As it stands in the file.
struct RefText {
  std::string reference, manifest, config;
  uint64_t disk_bytes = 0;
  int64_t stored_at = 0;  // Seconds since 1970.
};

// Everybody holds it briefly: who waits longer waits for something that hangs.
constexpr auto kLockPatience = std::chrono::seconds(60);
// Year 9999: beyond it the calendar of a listing would overflow.
constexpr int64_t kLastSecond = 253'402'300'799;

}  // namespace
}  // namespace msb::store

namespace msb::json {
template <>
struct Fields<store::RefText> {
  using T = store::RefText;
  static constexpr auto kTable =
      std::array{Required<&T::reference>("reference"), Required<&T::manifest>("manifest"),
                 Required<&T::config>("config"), Required<&T::disk_bytes>("disk_bytes"),
                 Required<&T::stored_at>("stored_at")};
};
}  // namespace msb::json

namespace msb::store {

std::string TextToRefName(std::string text) {
  std::replace(text.begin(), text.end(), '/', '+');
  return text;
}

std::string RefNameToText(std::string ref_name) {
  std::replace(ref_name.begin(), ref_name.end(), '+', '/');
  return ref_name;
}

std::string RefName(const Reference& reference) { return TextToRefName(reference.Canonical()); }

std::string RefPath(std::string_view ref_name) { return Cat(kRefs, "/", ref_name); }
std::string BlobPath(const Digest& digest) { return Cat(kBlobs, "/", digest.hex()); }
std::string DiskPath(const Digest& manifest) {
  return Cat(kDisks, "/", manifest.hex(), kDiskSuffix);
}

std::string TreeName(std::string_view hex, const TreeIds& ids) {
  std::string name = Cat(hex, "-", ::geteuid());
  if (ids.count != 0) name += Cat("-", ids.first_uid, "-", ids.first_gid, "-", ids.count);
  return name;
}

std::optional<TreeOwner> OwnerOfTree(std::string_view tree_name) {
  auto parts = Split(tree_name, '-');
  if (parts.size() != 2 && parts.size() != 5) return std::nullopt;
  std::array<uint32_t, 4> numbers{};
  for (size_t i = 1; i < parts.size(); i++) {
    auto number = ParseNumber<uint32_t>(parts[i]);
    if (!number) return std::nullopt;
    numbers[i - 1] = *number;
  }
  return TreeOwner{numbers[0], {numbers[1], numbers[2], numbers[3]}};
}

std::string_view ManifestOfTree(std::string_view tree_name) {
  return tree_name.substr(0, tree_name.find('-'));
}

std::string WriteRefRecord(const RefRecord& record) {
  RefText text{.reference = record.reference.Canonical(),
               .manifest = record.manifest.ToString(),
               .config = record.config.ToString(),
               .disk_bytes = record.disk_bytes,
               .stored_at = record.stored_at.time_since_epoch().count()};
  return json::Encode(text, json::Style::kPretty) + "\n";
}

Result<RefRecord> ParseRefRecord(std::string_view json) {
  RefText text = TRY(json::Decode<RefText>(json));
  if (text.stored_at < 0 || text.stored_at > kLastSecond)
    return Error(Code::kInvalidArgument, "stored_at: out of range");
  Reference reference = TRY(Reference::Parse(text.reference));
  Digest manifest = TRY(Digest::Parse(text.manifest));
  Digest config = TRY(Digest::Parse(text.config));
  return RefRecord{.reference = std::move(reference),
                   .manifest = std::move(manifest),
                   .config = std::move(config),
                   .disk_bytes = text.disk_bytes,
                   .stored_at = std::chrono::sys_seconds(std::chrono::seconds(text.stored_at))};
}

Result<UniqueFd> EnsureLayout(BorrowedFd home) {
  UniqueFd images = TRY(sys::EnsureDirectory(home, "images", 0700));
  for (const char* directory : {kRefs, kBlobs, kDisks, kTrees, kTemp})
    (void)TRY(sys::EnsureDirectory(images, directory, 0700));
  if (!TRY(sys::FindAt(images, "oci-layout")))
    TRY(sys::ReplaceFileAt(images, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}\n"));
  return images;
}

Result<sys::FileLock> LockImages(BorrowedFd images, LockMode mode) {
  UniqueFd file = TRY(sys::OpenAt(images, kLock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Deadline deadline = Deadline::After(kLockPatience);
  auto lock = mode == LockMode::kShared ? sys::FileLock::WaitShared(std::move(file), deadline)
                                        : sys::FileLock::WaitExclusive(std::move(file), deadline);
  return std::move(lock)
      .Context("lock images/lock")
      .Remedy("put MICROSANDBOX_HOME on a file system with working locks");
}

}  // namespace msb::store
