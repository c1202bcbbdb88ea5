// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/erofs_xattr.h"

#include <array>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checked.h"
#include "image/rootfs/erofs_format.h"

namespace msb::rootfs {
namespace {

struct StoredXattrName {
  erofs::XattrPrefix prefix;
  std::string_view rest;
};

std::optional<StoredXattrName> SplitXattrName(std::string_view name) {
  struct Known {
    std::string_view text;
    erofs::XattrPrefix prefix;
    bool whole;
  };
  static constexpr std::array<Known, 5> kKnown = {{
      {"user.", erofs::XattrPrefix::kUser, false},
      {"trusted.", erofs::XattrPrefix::kTrusted, false},
      {"security.", erofs::XattrPrefix::kSecurity, false},
      {"system.posix_acl_access", erofs::XattrPrefix::kPosixAclAccess, true},
      {"system.posix_acl_default", erofs::XattrPrefix::kPosixAclDefault, true},
  }};
  for (const Known& known : kKnown) {
    if (known.whole ? name != known.text : !name.starts_with(known.text)) continue;
    std::string_view rest = name.substr(known.text.size());
    if (!known.whole && (rest.empty() || rest.size() > UINT8_MAX)) return std::nullopt;
    return StoredXattrName{known.prefix, rest};
  }
  return std::nullopt;
}

}  // namespace

bool CanStoreXattr(std::string_view name) { return SplitXattrName(name).has_value(); }

uint64_t XattrBytes(std::span<const Xattr> xattrs) {
  uint64_t bytes = erofs::kXattrHeaderSize;
  for (const Xattr& xattr : xattrs) {
    std::optional<StoredXattrName> name = SplitXattrName(xattr.name);
    CHECK(name.has_value());
    bytes += AlignUp(sizeof(erofs::XattrEntry) + name->rest.size() + xattr.value.size(), 4);
  }
  return bytes;
}

void EncodeXattrs(std::span<const Xattr> xattrs, std::vector<std::byte>& out) {
  out.resize(out.size() + erofs::kXattrHeaderSize);
  for (const Xattr& xattr : xattrs) {
    StoredXattrName name = *SplitXattrName(xattr.name);
    erofs::XattrEntry entry{static_cast<uint8_t>(name.rest.size()),
                            static_cast<uint8_t>(name.prefix),
                            static_cast<uint16_t>(xattr.value.size())};
    size_t at = out.size();
    out.resize(at + AlignUp(sizeof entry + name.rest.size() + xattr.value.size(), 4));
    StoreLittle(out.data() + at, entry);
    std::memcpy(out.data() + at + sizeof entry, name.rest.data(), name.rest.size());
    std::memcpy(out.data() + at + sizeof entry + name.rest.size(), xattr.value.data(),
                xattr.value.size());
  }
}

}  // namespace msb::rootfs
