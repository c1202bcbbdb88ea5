// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/tar_reader.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "image/rootfs/acl_text.h"

namespace msb::rootfs {
namespace {

// Attributes of 64 KiB and a long path fit many times.
constexpr int64_t kMaxMetaSize = 1 << 20;

Error Invalid(std::string message) { return Error(Code::kInvalidArgument, std::move(message)); }

Error Truncated() { return Invalid("archive is truncated: it stops before its end marker"); }

Result<uint32_t> Id(int64_t number, std::string_view what) {
  // 0xffffffff is "no id" to the kernel.
  if (number < 0 || number >= UINT32_MAX) return Invalid(Cat(what, " ", number, " out of range"));
  return static_cast<uint32_t>(number);
}

void AddAcl(std::string_view name, const std::string& text, TarEntry& entry) {
  if (text.empty()) return;
  // An exact attribute beside the text wins.
  for (const Xattr& xattr : entry.attributes.xattrs)
    if (xattr.name == name) return;
  if (std::optional<std::string> value = EncodeAcl(text))
    entry.attributes.xattrs.push_back({std::string(name), *std::move(value)});
  else
    entry.lost_xattrs.emplace_back(name);
}

}  // namespace

Result<TarBlock> TarReader::ReadBlock() {
  bool first = input_.consumed() == 0;
  std::span<const std::byte> block = TRY(input_.Take(kTarBlock));
  if (first && !block.empty() && block.size() < kTarBlock)
    return Invalid("not a tar archive: shorter than one header");
  if (block.size() < kTarBlock) return Truncated();
  return block.first<kTarBlock>();
}

Result<std::span<const std::byte>> TarReader::Read(uint64_t most) {
  std::span<const std::byte> bytes = TRY(input_.TakeSome(std::min(most, data_left_)));
  if (bytes.empty()) return Truncated();
  data_left_ -= bytes.size();
  return bytes;
}

Result<void> TarReader::SkipRest() {
  while (data_left_ > 0) TRY(Read(data_left_));
  std::span<const std::byte> padding = TRY(input_.Take(padding_left_));
  if (padding.size() < padding_left_) return Truncated();
  padding_left_ = 0;
  return {};
}

// A pax header, or the name in a GNU long-name entry.
Result<std::string> TarReader::ReadMeta(const TarHeader& header) {
  if (header.size < 0 || header.size > kMaxMetaSize)
    return Error(Code::kResourceExhausted,
                 Cat("extended header of ", header.size, " bytes, more than ", kMaxMetaSize));
  data_left_ = static_cast<uint64_t>(header.size);
  padding_left_ = static_cast<uint32_t>(AlignUp(data_left_, kTarBlock) - data_left_);
  std::string meta;
  meta.reserve(data_left_);
  while (data_left_ > 0) meta += AsText(TRY(Read(data_left_)));
  TRY(SkipRest());
  return meta;
}

// After the first block of zeros: a second one, and zeros up to the end of the input. Everything is
// read, so that the tap has seen the whole archive.
Result<void> TarReader::ReadEnd() {
  for (;;) {
    std::span<const std::byte> bytes = TRY(input_.TakeSome(UINT64_MAX));
    if (bytes.empty()) return {};
    if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; }))
      return Invalid("data after the end marker of the archive");
  }
}

// The next header that stands for an entry, with all that was said about it before.
Result<bool> TarReader::NextHeader(TarHeader& header, PaxHeader& pax) {
  pax = global_;
  std::optional<std::string> long_path;
  std::optional<std::string> long_link;
  bool pending = false;  // An extended header that waits for its entry.
  for (;;) {
    bool first = input_.consumed() == 0;
    TarBlock block = TRY(ReadBlock());
    if (IsZeroBlock(block)) {
      if (pending) return Truncated();
      TRY(ReadEnd());
      return false;
    }
    Result<TarHeader> parsed = ParseTarHeader(block);
    if (!parsed && first) return std::move(parsed).Context("not a tar archive").error();
    if (!parsed) return std::move(parsed).Context("damaged header in the archive").error();
    header = *std::move(parsed);
    if (header.type == 'S') old_sparse_ = TRY(ParseOldSparseHeader(block));

    pending = header.type == 'x' || header.type == 'L' || header.type == 'K';
    switch (header.type) {
      case 'x':
      case 'X':  // Solaris' name for it.
        TRY(ParsePaxRecords(AsBytes(TRY(ReadMeta(header))), pax));
        break;
      case 'g':
        TRY(ParsePaxRecords(AsBytes(TRY(ReadMeta(header))), global_));
        pax = global_;
        break;
      case 'L':
        long_path = TRY(ReadMeta(header));
        long_path->resize(std::min(long_path->find('\0'), long_path->size()));
        break;
      case 'K':
        long_link = TRY(ReadMeta(header));
        long_link->resize(std::min(long_link->find('\0'), long_link->size()));
        break;
      case 'V':  // A volume's label.
        TRY(ReadMeta(header));
        break;
      default:
        if (long_path) header.path = *std::move(long_path);
        if (long_link) header.link = *std::move(long_link);
        if (pax.path) header.path = *pax.path;
        if (pax.link) header.link = *pax.link;
        if (pax.sparse_path) header.path = *pax.sparse_path;
        return true;
    }
  }
}

Result<bool> TarReader::Next(TarEntry& entry) {
  TRY(SkipRest());
  TarHeader header;
  PaxHeader pax;
  if (!TRY(NextHeader(header, pax))) return false;
  entry = {};
  entry.path = header.path;
  entry.link = header.link;
  TRY(Describe(header, pax, entry).Context(Cat("entry \"", Escape(header.path), "\"")));
  return true;
}

Result<void> TarReader::Describe(const TarHeader& header, PaxHeader& pax, TarEntry& entry) {
  entry.attributes.permissions = header.permissions;
  entry.attributes.uid = TRY(Id(pax.uid.value_or(header.uid), "uid"));
  entry.attributes.gid = TRY(Id(pax.gid.value_or(header.gid), "gid"));
  entry.attributes.mtime = pax.mtime ? pax.mtime->seconds : header.mtime;
  entry.attributes.mtime_nsec = pax.mtime ? pax.mtime->nanoseconds : 0;
  entry.attributes.xattrs = std::move(pax.xattrs);
  AddAcl("system.posix_acl_access", pax.acl_access, entry);
  AddAcl("system.posix_acl_default", pax.acl_default, entry);

  int64_t size = pax.size.value_or(header.size);
  if (size < 0) return Invalid("negative size");
  bool has_data = false;
  switch (header.type) {
    case '0':
    case '7':  // "Contiguous", a regular file everywhere by now.
      has_data = true;
      // Before ustar a directory was a file whose name ends in a slash.
      if (entry.path.ends_with('/') && size == 0) entry.kind = FileKind::kDirectory;
      break;
    case 'S':
      has_data = true;
      break;
    case '1':
      entry.hard_link = true;
      break;
    case '2':
      entry.kind = FileKind::kSymlink;
      break;
    case '3':
    case '4': {
      entry.kind = header.type == '3' ? FileKind::kCharacter : FileKind::kBlock;
      int64_t major = pax.device_major.value_or(header.device_major);
      int64_t minor = pax.device_minor.value_or(header.device_minor);
      if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
        return Invalid("device number out of range");
      entry.device_major = static_cast<uint32_t>(major);
      entry.device_minor = static_cast<uint32_t>(minor);
      break;
    }
    case '5':
      entry.kind = FileKind::kDirectory;
      break;
    case 'D':  // GNU incremental: a directory, its data a listing.
      entry.kind = FileKind::kDirectory;
      has_data = true;
      break;
    case '6':
      entry.kind = FileKind::kFifo;
      break;
    default:
      return Error(
          Code::kUnimplemented,
          Cat("entries of type \"", Escape(std::string_view(&header.type, 1)), "\" are not known"));
  }
  // Of links and devices the size is whatever the archiver felt like; no data follows.
  data_left_ = has_data ? static_cast<uint64_t>(size) : 0;
  if (data_left_ > INT64_MAX - kTarBlock) return Invalid("size out of range");
  padding_left_ = static_cast<uint32_t>(AlignUp(data_left_, kTarBlock) - data_left_);
  if (entry.kind != FileKind::kRegular || entry.hard_link) return {};

  if (header.type == 'S' || pax.sparse) {
    TRY(DescribeSparse(header, pax, entry));
  } else {
    entry.size = data_left_;
    if (entry.size > 0) entry.segments.push_back({0, entry.size});
  }
  if (entry.size > limits_.file_bytes)
    return Error(Code::kResourceExhausted,
                 Cat("file of ", entry.size, " bytes, more than ", limits_.file_bytes));
  return {};
}

Result<void> TarReader::DescribeSparse(const TarHeader& header, PaxHeader& pax, TarEntry& entry) {
  int64_t real_size = pax.sparse_size.value_or(0);
  if (header.type == 'S') {
    real_size = old_sparse_.real_size;
    entry.segments = std::move(old_sparse_.segments);
    while (old_sparse_.more) {
      old_sparse_ = TRY(ParseOldSparseExtension(TRY(ReadBlock())));
      entry.segments.insert(entry.segments.end(), old_sparse_.segments.begin(),
                            old_sparse_.segments.end());
      if (entry.segments.size() > kMaxSparseSegments)
        return Error(Code::kResourceExhausted,
                     Cat("sparse map of more than ", kMaxSparseSegments, " segments"));
    }
  } else if (pax.map_in_data) {
    entry.segments = TRY(ReadSparseMap());
  } else {
    entry.segments = std::move(pax.segments);
  }
  if (real_size < 0) return Invalid("negative size");
  entry.size = static_cast<uint64_t>(real_size);

  // Writers mark the end of a file that ends in a hole by an empty segment.
  std::erase_if(entry.segments, [](const DataSegment& s) { return s.length == 0; });
  uint64_t sum = 0;
  for (const DataSegment& segment : entry.segments) sum = TRY(CheckedAdd(sum, segment.length));
  if (sum != data_left_) return Invalid("sparse map does not match the size of the data");
  return {};
}

// Version 1.0: numbers, each on a line, before the data: how many segments, then offset and length
// of each. Filled up to a block.
Result<std::vector<DataSegment>> TarReader::ReadSparseMap() {
  std::vector<DataSegment> segments;
  std::optional<uint64_t> count;
  std::optional<uint64_t> offset;
  std::string line;
  for (;;) {
    if (data_left_ < kTarBlock) return Invalid("sparse map is not whole");
    data_left_ -= kTarBlock;
    for (std::byte byte : TRY(ReadBlock())) {
      char c = static_cast<char>(byte);
      if (c != '\n') {
        line += c;
        if (line.size() > 20) return Invalid("sparse map is not made of numbers");
        continue;
      }
      std::optional<uint64_t> number = ParseNumber<uint64_t>(line);
      line.clear();
      if (!number) return Invalid("sparse map is not made of numbers");
      if (!count) {
        count = number;
        if (*count > kMaxSparseSegments)
          return Error(Code::kResourceExhausted,
                       Cat("sparse map of more than ", kMaxSparseSegments, " segments"));
      } else if (!offset) {
        offset = number;
      } else {
        segments.push_back({*offset, *number});
        offset.reset();
      }
      if (segments.size() == *count) return segments;
    }
  }
}

}  // namespace msb::rootfs
