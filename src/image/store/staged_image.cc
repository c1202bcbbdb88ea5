// SPDX-License-Identifier: Apache-2.0
// How an image comes in: a disk without a name, then everything under its digest, last the
// reference. See store.h for what a death in between leaves.
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
#include "image/store/layout.h"
#include "image/store/store.h"
#include "sys/file.h"
#include "sys/random.h"

namespace msb::store {
namespace {

bool NoUnnamedFiles(const Error& error) {
  return error.sys_errno() == EOPNOTSUPP || error.sys_errno() == EISDIR ||
         error.sys_errno() == ENOENT;
}

}  // namespace

Result<StagedImage> Store::Stage(StagingMode mode) {
  images_ = TRY(EnsureLayout(home_));
  UniqueFd images = TRY(sys::Duplicate(images_));
  UniqueFd temp = TRY(sys::OpenAt(images, kTemp, O_RDONLY | O_DIRECTORY));
  if (mode == StagingMode::kUnnamed) {
    auto disk = sys::UnnamedFile(temp);
    if (disk) return StagedImage(std::move(images), *std::move(disk), "");
    if (!NoUnnamedFiles(disk.error())) return std::move(disk).error();
  }
  // gc takes an unlocked file in tmp/ for a dead writer's; it must not look before we have locked.
  auto images_lock = TRY(LockImages(images, LockMode::kShared));
  std::string name = sys::RandomId(16);
  UniqueFd disk = TRY(sys::OpenAt(temp, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  auto lock = sys::FileLock::TryExclusive(std::move(disk));
  if (!lock) {
    auto removed = sys::UnlinkAt(temp, name);
    return std::move(lock).error();
  }
  return StagedImage(std::move(images), std::move(*lock).Release(), std::move(name));
}

StagedImage::~StagedImage() {
  // Best effort: gc removes what stays.
  if (images_ && !temp_name_.empty())
    (void)sys::UnlinkAt(images_, Cat(kTemp, "/", std::exchange(temp_name_, {})));
}

Result<Image> StagedImage::Commit(const Reference& reference, const ImageDocuments& documents,
                                  std::chrono::sys_seconds now) && {
  struct stat st = TRY(sys::Stat(disk_));
  RefRecord record{.reference = reference,
                   .manifest = documents.manifest_digest,
                   .config = documents.config_digest,
                   .disk_bytes = static_cast<uint64_t>(st.st_size),
                   .stored_at = now};
  ImageConfig config = TRY(ParseImageConfig(documents.config).Context("config document"));
  TRY(sys::Sync(disk_));
  auto lock = TRY(LockImages(images_, LockMode::kShared));
  TRY(PublishDisk(record.manifest));
  UniqueFd blobs = TRY(sys::OpenAt(images_, kBlobs, O_RDONLY | O_DIRECTORY));
  TRY(sys::ReplaceFileAt(blobs, record.config.hex(), documents.config));
  TRY(sys::ReplaceFileAt(blobs, record.manifest.hex(), documents.manifest));
  UniqueFd refs = TRY(sys::OpenAt(images_, kRefs, O_RDONLY | O_DIRECTORY));
  TRY(sys::ReplaceFileAt(refs, RefName(reference), WriteRefRecord(record)));
  return Image{.reference = record.reference,
               .manifest = record.manifest,
               .config_digest = record.config,
               .disk_bytes = record.disk_bytes,
               .stored_at = record.stored_at,
               .config = std::move(config)};
}

Result<void> StagedImage::PublishDisk(const Digest& manifest) {
  if (temp_name_.empty()) {
    // Not straight to its place: linkat() does not replace, and a disk that is there already may be
    // the damaged one that this import is to repair.
    std::string name = sys::RandomId(16);
    UniqueFd temp = TRY(sys::OpenAt(images_, kTemp, O_RDONLY | O_DIRECTORY));
    TRY(sys::NameFile(disk_, temp, name));
    temp_name_ = name;
  }
  TRY(sys::RenameAt(images_, Cat(kTemp, "/", temp_name_), images_, DiskPath(manifest)));
  temp_name_.clear();
  UniqueFd disks = TRY(sys::OpenAt(images_, kDisks, O_RDONLY | O_DIRECTORY));
  return sys::Sync(disks);
}

}  // namespace msb::store
