// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/pax.h"

#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::rootfs {
namespace {

constexpr std::string_view kSchilyXattr = "SCHILY.xattr.";
constexpr std::string_view kLibarchiveXattr = "LIBARCHIVE.xattr.";
constexpr std::string_view kSparse = "GNU.sparse.";

Error Invalid(std::string_view key, std::string_view what) {
  return Error(Code::kInvalidArgument, Cat("pax record ", Escape(key, 100), ": ", what));
}

std::string DecodePercent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      int value = 0;
      auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      if (error == std::errc() && end == text.data() + i + 3) {
        out += static_cast<char>(value);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// An empty value takes back what an earlier header said.
Result<void> SetNumber(std::string_view key, std::string_view value, std::optional<int64_t>& to) {
  to = ParseNumber<int64_t>(value);
  if (!to && !value.empty()) return Invalid(key, "not a number");
  return {};
}

void SetText(std::string_view value, std::optional<std::string>& to) {
  to.reset();
  if (!value.empty()) to.emplace(value);
}

Result<void> AddSegmentNumber(std::string_view key, std::string_view text, bool is_offset,
                              PaxHeader& header) {
  std::optional<uint64_t> number = ParseNumber<uint64_t>(text);
  if (!number) return Invalid(key, "not a number");
  if (is_offset) {
    if (header.segments.size() >= kMaxSparseSegments)
      return Error(Code::kResourceExhausted,
                   Cat("sparse map of more than ", kMaxSparseSegments, " segments"));
    header.segments.push_back({*number, 0});
  } else if (header.segments.empty()) {
    return Invalid(key, "length without an offset");
  } else {
    header.segments.back().length = *number;
  }
  return {};
}

Result<void> ApplySparse(std::string_view key, std::string_view value, PaxHeader& header) {
  std::string_view name = key.substr(kSparse.size());
  header.sparse = true;
  if (name == "major") {
    header.map_in_data = value == "1";
    if (value != "0" && value != "1") return Invalid(key, "unknown version");
  } else if (name == "name") {
    SetText(value, header.sparse_path);
  } else if (name == "size" || name == "realsize") {
    return SetNumber(key, value, header.sparse_size);
  } else if (name == "numblocks") {
    header.segments.clear();
  } else if (name == "offset" || name == "numbytes") {
    return AddSegmentNumber(key, value, name == "offset", header);
  } else if (name == "map") {
    header.segments.clear();
    bool is_offset = true;
    while (!value.empty()) {
      size_t comma = std::min(value.find(','), value.size());
      TRY(AddSegmentNumber(key, value.substr(0, comma), is_offset, header));
      value.remove_prefix(std::min(comma + 1, value.size()));
      is_offset = !is_offset;
    }
    if (!is_offset) return Invalid(key, "odd number of numbers");
  }
  return {};
}

Result<void> Apply(std::string_view key, std::string_view value, PaxHeader& header) {
  if (key == "path") {
    SetText(value, header.path);
  } else if (key == "linkpath") {
    SetText(value, header.link);
  } else if (key == "size") {
    return SetNumber(key, value, header.size);
  } else if (key == "uid") {
    return SetNumber(key, value, header.uid);
  } else if (key == "gid") {
    return SetNumber(key, value, header.gid);
  } else if (key == "mtime") {
    header.mtime = ParsePaxTime(value);
    if (!header.mtime && !value.empty()) return Invalid(key, "not a time");
  } else if (key == "SCHILY.devmajor") {
    return SetNumber(key, value, header.device_major);
  } else if (key == "SCHILY.devminor") {
    return SetNumber(key, value, header.device_minor);
  } else if (key == "SCHILY.acl.access") {
    header.acl_access = value;
  } else if (key == "SCHILY.acl.default") {
    header.acl_default = value;
  } else if (key.starts_with(kSchilyXattr)) {
    header.xattrs.push_back({std::string(key.substr(kSchilyXattr.size())), std::string(value)});
  } else if (key.starts_with(kLibarchiveXattr)) {
    std::optional<std::string> decoded = DecodeBase64(value);
    if (!decoded) return Invalid(key, "not base64");
    // libarchive writes the same attribute in star's form as well; that one is exact and wins.
    std::string name = DecodePercent(key.substr(kLibarchiveXattr.size()));
    header.xattrs.insert(header.xattrs.begin(), {std::move(name), *std::move(decoded)});
  } else if (key.starts_with(kSparse)) {
    return ApplySparse(key, value, header);
  }
  return {};
}

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (char c : text) {
    uint32_t value;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6 | value;
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 0xff);
    }
  }
  return out;
}

std::optional<PaxTime> ParsePaxTime(std::string_view text) {
  size_t dot = std::min(text.find('.'), text.size());
  bool negative = text.starts_with('-');
  std::optional<int64_t> seconds = ParseNumber<int64_t>(text.substr(0, dot));
  if (!seconds) return std::nullopt;
  uint32_t nanoseconds = 0;
  uint32_t unit = 100'000'000;
  bool cut = false;
  for (char c : text.substr(std::min(dot + 1, text.size()))) {
    if (c < '0' || c > '9') return std::nullopt;
    nanoseconds += static_cast<uint32_t>(c - '0') * unit;
    cut |= unit == 0 && c != '0';
    unit /= 10;
  }
  if (!negative) return PaxTime{*seconds, nanoseconds};
  // -1.5 is half a second after -2.
  nanoseconds += cut ? 1 : 0;
  if (nanoseconds == 0) return PaxTime{*seconds, 0};
  if (*seconds == INT64_MIN) return std::nullopt;
  return PaxTime{*seconds - 1, 1'000'000'000 - nanoseconds};
}

Result<void> ParsePaxRecords(std::span<const std::byte> records, PaxHeader& header) {
  std::string_view rest = AsText(records);
  // Some programs pad with NULs inside the declared size.
  while (rest.ends_with('\0')) rest.remove_suffix(1);
  while (!rest.empty()) {
    size_t space = rest.find(' ');
    std::optional<size_t> length;
    if (space != std::string_view::npos) length = ParseNumber<size_t>(rest.substr(0, space));
    if (!length || *length > rest.size() || *length < space + 2)
      return Error(Code::kInvalidArgument, "pax header with a wrong record length");
    std::string_view record = rest.substr(0, *length);
    rest.remove_prefix(*length);
    if (!record.ends_with('\n'))
      return Error(Code::kInvalidArgument, "pax record without its newline");
    record = record.substr(space + 1, record.size() - space - 2);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos)
      return Error(Code::kInvalidArgument, "pax record without \"=\"");
    TRY(Apply(record.substr(0, equals), record.substr(equals + 1), header));
  }
  return {};
}

}  // namespace msb::rootfs
