// SPDX-License-Identifier: Apache-2.0
// The frame codec: one fixed header, then raw bytes.

#include "protocol/frame.h"

#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"

namespace msb::protocol {
namespace {

bool KnownType(uint8_t type) {
  return (type >= static_cast<uint8_t>(Type::kHello) &&
          type <= static_cast<uint8_t>(Type::kGoodbye)) ||
         (type >= static_cast<uint8_t>(Type::kExecOpen) &&
          type <= static_cast<uint8_t>(Type::kClose)) ||
         (type >= static_cast<uint8_t>(Type::kData) &&
          type <= static_cast<uint8_t>(Type::kReset)) ||
         (type >= static_cast<uint8_t>(Type::kStatusRequest) &&
          type <= static_cast<uint8_t>(Type::kConsole));
}

}  // namespace

Result<Header> ParseHeader(std::span<const std::byte, kHeaderSize> bytes) {
  Header header;
  header.length = LoadLittle<uint16_t>(bytes.data());
  if (header.length > kMaxBody)
    return Error(Code::kInvalidArgument, Cat("frame of ", header.length, " bytes"));
  auto type = LoadLittle<uint8_t>(bytes.data() + 2);
  if (!KnownType(type)) return Error(Code::kInvalidArgument, Cat("frame of unknown type ", type));
  header.type = static_cast<Type>(type);
  header.fd = LoadLittle<uint8_t>(bytes.data() + 3);
  if (header.fd > 2) return Error(Code::kInvalidArgument, Cat("frame for stream ", header.fd));
  header.exec = LoadLittle<uint32_t>(bytes.data() + 4);
  header.offset = LoadLittle<uint64_t>(bytes.data() + 8);
  return header;
}

void EncodeHeader(const Header& header, std::span<std::byte, kHeaderSize> out) {
  StoreLittle(out.data(), header.length);
  StoreLittle(out.data() + 2, static_cast<uint8_t>(header.type));
  StoreLittle(out.data() + 3, header.fd);
  StoreLittle(out.data() + 4, header.exec);
  StoreLittle(out.data() + 8, header.offset);
}

void AppendFrame(std::vector<std::byte>& out, Header header, std::span<const std::byte> body) {
  CHECK(body.size() <= kMaxBody);
  header.length = static_cast<uint16_t>(body.size());
  size_t at = out.size();
  out.resize(at + kHeaderSize);
  EncodeHeader(header, std::span<std::byte, kHeaderSize>(out.data() + at, kHeaderSize));
  out.insert(out.end(), body.begin(), body.end());
}

FrameReader::FrameReader(size_t capacity)
    : capacity_(capacity), buffer_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {
  CHECK(capacity >= kSmallest);
}

std::span<std::byte> FrameReader::Space() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (capacity_ - end_ < kMaxFrame) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void FrameReader::Filled(size_t count) {
  CHECK(count <= capacity_ - end_);
  end_ += count;
}

Result<std::optional<Frame>> FrameReader::Next() {
  if (pending() < kHeaderSize) return std::optional<Frame>();
  const std::byte* start = buffer_.get() + begin_;
  Header header = TRY(ParseHeader(std::span<const std::byte, kHeaderSize>(start, kHeaderSize)));
  if (pending() < kHeaderSize + header.length) return std::optional<Frame>();
  begin_ += kHeaderSize + header.length;
  return std::optional<Frame>(Frame{header, {start + kHeaderSize, header.length}});
}

}  // namespace msb::protocol
