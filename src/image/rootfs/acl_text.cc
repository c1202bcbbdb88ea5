// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/acl_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::rootfs {
namespace {

// The tags and the version of the kernel's form, posix_acl_xattr.h.
enum Tag : uint16_t {
  kUserObject = 0x01,
  kUser = 0x02,
  kGroupObject = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};
constexpr uint32_t kVersion = 2;
constexpr uint32_t kNoId = 0xffffffff;

struct AclEntry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id;
};

std::string_view Trim(std::string_view text) {
  text = text.substr(0, text.find('#'));
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<uint16_t> ParsePermissions(std::string_view text) {
  uint16_t permissions = 0;
  for (char c : text) {
    if (c == 'r') {
      permissions |= 4;
    } else if (c == 'w') {
      permissions |= 2;
    } else if (c == 'x') {
      permissions |= 1;
    } else if (c != '-') {
      return std::nullopt;
    }
  }
  return permissions;
}

std::optional<AclEntry> ParseEntry(std::string_view text) {
  std::vector<std::string> fields = Split(text, ':');
  if (fields.size() == 2) fields.insert(fields.begin() + 1, "");  // "other:r--"
  if (fields.size() != 3 && fields.size() != 4) return std::nullopt;
  std::optional<uint16_t> permissions = ParsePermissions(fields[2]);
  if (!permissions) return std::nullopt;

  const std::string& kind = fields[0];
  bool user = kind == "user" || kind == "u";
  bool group = kind == "group" || kind == "g";
  if (fields[1].empty() && fields.size() == 3) {
    uint16_t tag = user                             ? kUserObject
                   : group                          ? kGroupObject
                   : kind == "mask" || kind == "m"  ? kMask
                   : kind == "other" || kind == "o" ? kOther
                                                    : 0;
    if (tag == 0) return std::nullopt;
    return AclEntry{tag, *permissions, kNoId};
  }
  std::optional<uint32_t> id = ParseNumber<uint32_t>(fields.size() == 4 ? fields[3] : fields[1]);
  if (!id || *id == kNoId || !(user || group)) return std::nullopt;
  return AclEntry{user ? uint16_t{kUser} : uint16_t{kGroup}, *permissions, *id};
}

}  // namespace

std::optional<std::string> EncodeAcl(std::string_view text) {
  std::vector<AclEntry> entries;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_of(",\n"), text.size());
    std::string_view piece = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (piece.empty()) continue;
    std::optional<AclEntry> entry = ParseEntry(piece);
    if (!entry) return std::nullopt;
    entries.push_back(*entry);
  }
  if (entries.empty()) return std::nullopt;
  // The kernel wants them by tag, then by id.
  std::sort(entries.begin(), entries.end(), [](const AclEntry& a, const AclEntry& b) {
    return a.tag != b.tag ? a.tag < b.tag : a.id < b.id;
  });
  ByteWriter writer;
  writer.Number(kVersion);
  for (const AclEntry& entry : entries) {
    writer.Number(entry.tag);
    writer.Number(entry.permissions);
    writer.Number(entry.id);
  }
  return std::string(AsText(writer.bytes()));
}

}  // namespace msb::rootfs
