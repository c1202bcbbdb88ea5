// SPDX-License-Identifier: Apache-2.0
// Hostile archives, compressed or not, as one layer or two, through the reader, the tree and the
// writer, with small limits. What is accepted must read back.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/bytes.h"
#include "image/rootfs/root_disk.h"
#include "image/rootfs/test_erofs_reader.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

// Most mutations break a header's checksum and would get no further; here it is made right again in
// every block that says it is a header.
std::vector<std::byte> FixChecksums(std::span<const std::byte> bytes) {
  std::vector<std::byte> fixed(bytes.begin(), bytes.end());
  for (size_t at = 0; at + 512 <= fixed.size(); at += 512) {
    std::span<std::byte> block = std::span(fixed).subspan(at, 512);
    if (!AsText(block).substr(257).starts_with("ustar")) continue;
    std::fill_n(block.begin() + 148, 8, std::byte{' '});
    unsigned sum = 0;
    for (std::byte byte : block) sum += static_cast<unsigned>(byte);
    for (size_t digit = 0; digit < 6; ++digit)
      block[153 - digit] = static_cast<std::byte>('0' + (sum >> (3 * digit) & 7));
  }
  return fixed;
}

Result<void> Try(std::span<const std::byte> bytes) {
  RootDiskOptions options;
  options.limits = {.entries = 1000,
                    .input_bytes = 1 << 20,
                    .image_bytes = 8 << 20,
                    .file_bytes = uint64_t{1} << 40,
                    .memory_bytes = 4 << 20,
                    .path_bytes = 512,
                    .xattr_bytes = 65536};
  UniqueFd out = TRY(sys::MemFd("out"));
  RootDiskBuilder builder = TRY(RootDiskBuilder::Create(out, options));
  // A first byte of 1 says: the rest is two layers of equal size.
  size_t layers = !bytes.empty() && bytes[0] == std::byte{1} ? 2 : 1;
  if (layers == 2) bytes = bytes.subspan(1);
  for (size_t i = 0; i < layers; ++i) {
    UniqueFd in = TRY(sys::MemFd("in"));
    size_t half = bytes.size() / layers;
    TRY(sys::WriteAll(in, std::span<const std::byte>(FixChecksums(bytes.subspan(i * half, half)))));
    ::lseek(in.get(), 0, SEEK_SET);
    TRY(builder.AddTar(in, TarKind::kLayer));
  }
  TRY(std::move(builder).Finish());
  Result<SeenTree> seen = ReadErofs(out);
  if (!seen && seen.error().message() != "too deep for this reader") {
    (void)!::write(2, seen.error().message().data(), seen.error().message().size());
    std::abort();
  }
  return {};
}

}  // namespace
}  // namespace msb::rootfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)msb::rootfs::Try(std::as_bytes(std::span(data, size)));
  return 0;
}
