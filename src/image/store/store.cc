// SPDX-License-Identifier: Apache-2.0
// Looking images up, opening their disks, listing and removing them.
#include "image/store/store.h"

#include <cerrno>

#include "base/bytes.h"
#include "base/text.h"
#include "image/store/layout.h"
#include "sys/file.h"

namespace msb::store {
namespace {

constexpr size_t kMaxRefBytes = 4096;
constexpr size_t kMaxConfigBytes = size_t{4} << 20;
// The superblock of EROFS: at this offset, beginning with this.
constexpr off_t kErofsOffset = 1024;
constexpr uint32_t kErofsMagic = 0xE0F5E1E2;
// Between reading a reference and opening what it names another process may replace the image and
// collect the old one; the next look finds the new one. More often in a row is damage.
constexpr int kAttempts = 4;

std::string Remedy(const Reference& reference) {
  return Cat("run: msb image import ", reference.Familiar(), " DIR|TAR");
}

Error Damaged(const Reference& reference, std::string_view what) {
  Error error(Code::kDataLoss, Cat("image ", reference.Familiar(), ": ", what));
  return std::move(error).Remedy(Remedy(reference));
}

}  // namespace

Result<Store> Store::Open(BorrowedFd home, TreeWorker worker) {
  UniqueFd own_home = TRY(sys::Duplicate(home));
  auto images = sys::OpenAt(home, "images", O_RDONLY | O_DIRECTORY);
  if (!images && images.error().sys_errno() != ENOENT) return std::move(images).error();
  return Store(std::move(own_home), images ? *std::move(images) : UniqueFd(), std::move(worker));
}

Result<Image> Store::Load(const std::string& ref_name) const {
  for (int attempt = 1;; ++attempt) {
    auto image = LoadOnce(ref_name);
    bool no_config =
        !image && image.error().code() == Code::kNotFound && image.error().sys_errno() != ENOENT;
    if (!no_config || attempt == kAttempts) return image;
  }
}

Result<Image> Store::LoadOnce(const std::string& ref_name) const {
  std::string text = TRY(sys::ReadFileAt(images_, RefPath(ref_name), kMaxRefBytes));
  RefRecord record = TRY(ParseRefRecord(text).Context(Cat("images/", RefPath(ref_name))));
  if (RefName(record.reference) != ref_name)
    return Error(Code::kDataLoss, Cat("images/", RefPath(ref_name), ": is the file of ",
                                      record.reference.Canonical()));
  auto config_text = sys::ReadFileAt(images_, BlobPath(record.config), kMaxConfigBytes);
  if (!config_text) {
    auto code = config_text.error().code() == Code::kNotFound ? Code::kNotFound : Code::kDataLoss;
    return Error(code, Cat("image ", record.reference.Familiar(),
                           ": its config document: ", config_text.error().message()))
        .Remedy(Remedy(record.reference));
  }
  auto config = ParseImageConfig(*config_text);
  if (!config) return Damaged(record.reference, Cat("config: ", config.error().message()));
  return Image{.reference = record.reference,
               .manifest = record.manifest,
               .config_digest = record.config,
               .disk_bytes = record.disk_bytes,
               .stored_at = record.stored_at,
               .config = *std::move(config)};
}

Result<std::optional<Image>> Store::Find(const Reference& reference) const {
  if (!images_) return std::optional<Image>();
  auto image = Load(RefName(reference));
  if (image) return std::optional<Image>(*std::move(image));
  if (image.error().sys_errno() == ENOENT) return std::optional<Image>();
  return std::move(image).Remedy(Remedy(reference)).error();
}

Result<UniqueFd> Store::OpenRootDisk(const Image& image) const {
  auto disk = sys::OpenAt(images_, DiskPath(image.manifest), O_RDONLY | O_NOFOLLOW);
  if (!disk && disk.error().sys_errno() == ENOENT)
    return Error(Code::kNotFound, Cat("image ", image.reference.Familiar(), ": its root disk ",
                                      image.manifest.Short(), " is missing"))
        .Remedy(Remedy(image.reference));
  UniqueFd fd = TRY(std::move(disk));
  struct stat st = TRY(sys::Stat(fd));
  if (!S_ISREG(st.st_mode)) return Damaged(image.reference, "its root disk is not a regular file");
  if (static_cast<uint64_t>(st.st_size) != image.disk_bytes)
    return Damaged(image.reference, Cat("its root disk has ", st.st_size, " bytes, ",
                                        image.disk_bytes, " were stored"));
  std::byte magic[4];
  if (auto read = sys::ReadExactlyAt(fd, magic, kErofsOffset); !read)
    return Damaged(image.reference, Cat("its root disk: ", read.error().message()));
  if (LoadLittle<uint32_t>(magic) != kErofsMagic)
    return Damaged(image.reference, "its root disk is no EROFS image");
  return fd;
}

Result<std::optional<OpenedImage>> Store::OpenImage(const Reference& reference) const {
  for (int attempt = 1;; ++attempt) {
    std::optional<Image> image = TRY(Find(reference));
    if (!image) return std::optional<OpenedImage>();
    auto disk = OpenRootDisk(*image);
    if (disk) return std::optional<OpenedImage>({*std::move(image), *std::move(disk)});
    if (disk.error().code() != Code::kNotFound || attempt == kAttempts)
      return std::move(disk).error();
  }
}

Result<ImageList> Store::List() const {
  ImageList list;
  if (!images_) return list;
  auto refs = sys::OpenAt(images_, kRefs, O_RDONLY | O_DIRECTORY);
  if (!refs && refs.error().sys_errno() == ENOENT) return list;
  UniqueFd dir = TRY(std::move(refs));
  for (const std::string& name : TRY(sys::ListDirectory(dir))) {
    if (name.starts_with('.')) continue;  // A replacement that was never finished.
    auto image = Load(name);
    if (image)
      list.images.push_back(*std::move(image));
    else if (image.error().sys_errno() != ENOENT)  // Removed since the listing.
      list.broken.push_back({RefNameToText(name), std::move(image).error()});
  }
  return list;
}

Result<bool> Store::Remove(const Reference& reference) {
  return RemoveBroken(reference.Canonical());
}

Result<bool> Store::RemoveBroken(const std::string& text) {
  std::string name = TextToRefName(text);
  if (name.empty() || name.front() == '.')
    return Error(Code::kInvalidArgument, Cat("\"", Escape(name), "\" names no image"));
  if (!images_) return false;
  UniqueFd refs = TRY(sys::OpenAt(images_, kRefs, O_RDONLY | O_DIRECTORY));
  auto removed = sys::UnlinkAt(refs, name);
  if (!removed && removed.error().sys_errno() == ENOENT) return false;
  TRY(std::move(removed));
  TRY(sys::Sync(refs));
  return true;
}

}  // namespace msb::store
