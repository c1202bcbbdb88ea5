// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/tar_header.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::rootfs {
namespace {

struct Field {
  size_t offset;
  size_t size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kMtime{136, 12}, kChecksum{148, 8}, kLink{157, 100}, kMajor{329, 8}, kMinor{337, 8},
    kPrefix{345, 155}, kStarPrefix{345, 131}, kRealSize{483, 12};
constexpr size_t kType = 156;
constexpr size_t kMagic = 257;
constexpr size_t kStarMagic = 508;
constexpr size_t kSparse = 386, kSparseEntry = 24;
constexpr size_t kSparseInHeader = 4, kMoreInHeader = 482;
constexpr size_t kSparseInExtension = 21, kMoreInExtension = 504;

Error Invalid(std::string message) { return Error(Code::kInvalidArgument, std::move(message)); }

// Up to the first NUL.
std::string_view Text(TarBlock block, Field field) {
  std::string_view text = AsText(block.subspan(field.offset, field.size));
  return text.substr(0, text.find('\0'));
}

Result<int64_t> Base256(std::string_view bytes) {
  // 0xff is a negative number in two's complement, 0x80 to 0xbf a positive one.
  bool negative = bytes[0] == '\xff';
  uint64_t fill = negative ? ~uint64_t{0} : 0;
  uint64_t value = fill;
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto byte = static_cast<unsigned char>(bytes[i]);
    if (i == 0) byte = negative ? 0xff : byte & 0x7f;
    if (value >> 55 != fill >> 55) return Invalid("number out of range");
    value = value << 8 | byte;
  }
  return static_cast<int64_t>(value);
}

Result<int64_t> Number(TarBlock block, Field field) {
  std::string_view text = AsText(block.subspan(field.offset, field.size));
  if ((text[0] & '\x80') != 0) return Base256(text);
  text = text.substr(0, text.find('\0'));
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  uint64_t value = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '7'; ++i)
    value = value << 3 | static_cast<uint64_t>(text[i] - '0');  // 12 digits at most: 36 bits.
  if (text.find_first_not_of(' ', i) != std::string_view::npos)
    return Invalid(Cat("\"", Escape(text), "\" is not an octal number"));
  return static_cast<int64_t>(value);
}

Result<void> CheckChecksum(TarBlock block) {
  int64_t stored = TRY(Number(block, kChecksum));
  int64_t unsigned_sum = 0;
  int64_t signed_sum = 0;  // What some old programs wrote, on machines where char is signed.
  for (size_t i = 0; i < kTarBlock; ++i) {
    bool inside = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    auto byte = inside ? uint8_t{' '} : std::to_integer<uint8_t>(block[i]);
    unsigned_sum += byte;
    signed_sum += static_cast<int8_t>(byte);
  }
  if (stored != unsigned_sum && stored != signed_sum) return Invalid("wrong checksum");
  return {};
}

Result<void> ParseSparseEntries(TarBlock block, size_t offset, size_t count, OldSparseMap& map) {
  for (size_t i = 0; i < count; ++i) {
    size_t at = offset + i * kSparseEntry;
    if (block[at] == std::byte{0}) break;
    int64_t begin = TRY(Number(block, {at, 12}));
    int64_t length = TRY(Number(block, {at + 12, 12}));
    if (begin < 0 || length < 0) return Invalid("negative number in a sparse map");
    map.segments.push_back({static_cast<uint64_t>(begin), static_cast<uint64_t>(length)});
  }
  return {};
}

}  // namespace

bool IsZeroBlock(TarBlock block) {
  return std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
}

Result<TarHeader> ParseTarHeader(TarBlock block) {
  TRY(CheckChecksum(block));
  TarHeader header;
  header.type = static_cast<char>(block[kType]);
  if (header.type == '\0') header.type = '0';
  header.path = Text(block, kName);
  header.link = Text(block, kLink);
  header.permissions = static_cast<uint32_t>(TRY(Number(block, kMode)) & 07777);
  header.uid = TRY(Number(block, kUid));
  header.gid = TRY(Number(block, kGid));
  header.size = TRY(Number(block, kSize));
  header.mtime = TRY(Number(block, kMtime));
  if (header.type == '3' || header.type == '4') {  // Garbage in other entries of some programs.
    header.device_major = TRY(Number(block, kMajor));
    header.device_minor = TRY(Number(block, kMinor));
  }
  std::string_view magic = AsText(block.subspan(kMagic, 6));
  if (magic == std::string_view("ustar\0", 6)) {
    bool star = AsText(block.subspan(kStarMagic, 4)) == std::string_view("tar\0", 4);
    std::string_view prefix = Text(block, star ? kStarPrefix : kPrefix);
    if (!prefix.empty()) header.path = Cat(prefix, '/', header.path);
  }
  return header;
}

Result<OldSparseMap> ParseOldSparseHeader(TarBlock header) {
  OldSparseMap map;
  TRY(ParseSparseEntries(header, kSparse, kSparseInHeader, map));
  map.more = header[kMoreInHeader] != std::byte{0};
  map.real_size = TRY(Number(header, kRealSize));
  return map;
}

Result<OldSparseMap> ParseOldSparseExtension(TarBlock block) {
  OldSparseMap map;
  TRY(ParseSparseEntries(block, 0, kSparseInExtension, map));
  map.more = block[kMoreInExtension] != std::byte{0};
  return map;
}

}  // namespace msb::rootfs
