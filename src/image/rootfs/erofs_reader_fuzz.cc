// SPDX-License-Identifier: Apache-2.0
// Hostile root disks through the reader: everything that a walk of the tree asks. The superblock's
// magic is made right, so that mutations get beyond it.
#include <sys/stat.h>

#include <cstdint>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "image/rootfs/erofs_reader.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

constexpr size_t kMostNodes = 200;

Result<void> Try(std::span<const std::byte> bytes) {
  std::vector<std::byte> image(bytes.begin(), bytes.end());
  image.resize(std::max<size_t>(image.size(), 4096));
  StoreLittle<uint32_t>(image.data() + erofs::kSuperblockOffset, erofs::kMagic);
  StoreLittle<uint8_t>(image.data() + erofs::kSuperblockOffset + 12, erofs::kBlockBits);
  UniqueFd fd = TRY(sys::MemFd("image"));
  TRY(sys::WriteAll(fd, std::span<const std::byte>(image)));
  ErofsReader reader = TRY(ErofsReader::Open(fd));
  std::vector<uint64_t> left{reader.root()};
  std::set<uint64_t> seen;
  while (!left.empty() && seen.size() < kMostNodes) {
    uint64_t nid = left.back();
    left.pop_back();
    if (!seen.insert(nid).second) continue;
    auto node = reader.Load(nid);
    if (!node) continue;
    if (S_ISDIR(node->mode)) {
      if (auto entries = reader.List(*node))
        for (const auto& entry : *entries) left.push_back(entry.nid);
    } else if (S_ISLNK(node->mode)) {
      (void)reader.Target(*node);
    } else {
      // What it names is in the image, or the reader must not have named it.
      (void)reader.ForEachExtent(*node, [&](const ErofsReader::Extent& extent) -> Result<void> {
        if (extent.bytes == 0 || extent.from > image.size() ||
            extent.bytes > image.size() - extent.from)
          __builtin_trap();
        return {};
      });
    }
  }
  return {};
}

}  // namespace
}  // namespace msb::rootfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)msb::rootfs::Try(std::as_bytes(std::span(data, size)));
  return 0;
}
