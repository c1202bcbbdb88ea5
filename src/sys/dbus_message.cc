// SPDX-License-Identifier: Apache-2.0
// Writing and reading D-Bus messages.

#include "sys/dbus_message.h"

#include "base/bytes.h"
#include "base/text.h"

namespace msb::sys::dbus {
namespace {

constexpr size_t kFixedHeader = 16;  // With the length of the header fields.
constexpr uint8_t kNoAutoStart = 2;
constexpr uint8_t kVersion = 1;

// Codes of header fields.
constexpr uint8_t kPath = 1;
constexpr uint8_t kInterface = 2;
constexpr uint8_t kMember = 3;
constexpr uint8_t kErrorName = 4;
constexpr uint8_t kReplySerial = 5;
constexpr uint8_t kDestination = 6;
constexpr uint8_t kSignature = 8;

uint64_t RoundUp8(uint64_t value) { return (value + 7) / 8 * 8; }

Error Malformed(std::string_view why) {
  return Error(Code::kInvalidArgument, Cat("malformed D-Bus message: ", why));
}

void WriteField(Writer& out, uint8_t code, std::string_view type, const std::string& value) {
  if (value.empty()) return;
  out.Align(8);
  out.Byte(code);
  out.Signature(type);
  if (type == "g")
    out.Signature(value);
  else
    out.Text(value);
}

Result<void> ReadField(Reader& in, Message& message) {
  TRY(in.Align(8));
  uint8_t code = TRY(in.Byte());
  std::string type = TRY(in.Signature());
  auto text = [&](std::string& into, std::string_view wanted) -> Result<void> {
    if (type != wanted) return Malformed(Cat("header field ", code, " of type ", Escape(type, 16)));
    into = TRY(wanted == "g" ? in.Signature() : in.Text());
    return {};
  };
  switch (code) {
    case kInterface:
      return text(message.interface, "s");
    case kMember:
      return text(message.member, "s");
    case kErrorName:
      return text(message.error_name, "s");
    case kSignature:
      return text(message.signature, "g");
    case kReplySerial:
      if (type != "u") return Malformed("reply serial that is no number");
      message.reply_serial = TRY(in.Uint32());
      return {};
    default:
      // The specification has clients ignore what they do not know.
      if (type.size() != 1) return Malformed(Cat("header field ", code, " of a compound type"));
      return in.SkipBasic(type[0]);
  }
}

}  // namespace

void Writer::Uint32(uint32_t value) {
  Align(4);
  size_t at = bytes_.size();
  bytes_.resize(at + sizeof value);
  StoreLittle(bytes_.data() + at, value);
}

void Writer::Text(std::string_view text) {
  Uint32(static_cast<uint32_t>(text.size()));
  Bytes(AsBytes(text));
  Byte(0);
}

void Writer::Signature(std::string_view signature) {
  Byte(static_cast<uint8_t>(signature.size()));
  Bytes(AsBytes(signature));
  Byte(0);
}

void Writer::Bytes(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Writer::Align(size_t alignment) {
  while (bytes_.size() % alignment != 0) Byte(0);
}

Writer::Array Writer::BeginArray(size_t alignment) {
  Uint32(0);
  size_t length_at = bytes_.size() - 4;
  Align(alignment);
  return {length_at, bytes_.size()};
}

void Writer::EndArray(const Array& array) {
  StoreLittle(bytes_.data() + array.length_at,
              static_cast<uint32_t>(bytes_.size() - array.first_element));
}

Result<std::span<const std::byte>> Reader::Take(size_t count) {
  if (bytes_.size() - at_ < count) return Malformed("truncated");
  auto taken = bytes_.subspan(at_, count);
  at_ += count;
  return taken;
}

Result<uint8_t> Reader::Byte() { return static_cast<uint8_t>(TRY(Take(1))[0]); }

Result<uint32_t> Reader::Uint32() {
  TRY(Align(4));
  return LoadLittle<uint32_t>(TRY(Take(4)).data());
}

Result<std::string> Reader::TakeText(size_t size) {
  std::string text(AsText(TRY(Take(size))));
  if (TRY(Byte()) != 0 || text.find('\0') != std::string::npos)
    return Malformed("text without its end");
  return text;
}

Result<std::string> Reader::Text() { return TakeText(TRY(Uint32())); }

Result<std::string> Reader::Signature() { return TakeText(TRY(Byte())); }

Result<void> Reader::Align(size_t alignment) {
  while (at_ % alignment != 0)
    if (TRY(Byte()) != 0) return Malformed("padding that is not zero");
  return {};
}

Result<void> Reader::SkipBasic(char type) {
  auto skip = [&](size_t size) -> Result<void> {
    TRY(Align(size));
    TRY(Take(size));
    return {};
  };
  switch (type) {
    case 'y':
      return skip(1);
    case 'n':
    case 'q':
      return skip(2);
    case 'b':
    case 'i':
    case 'u':
    case 'h':
      return skip(4);
    case 'x':
    case 't':
    case 'd':
      return skip(8);
    case 's':
    case 'o':
      TRY(Text());
      return {};
    case 'g':
      TRY(Signature());
      return {};
    default:
      return Malformed("value of an unknown type");
  }
}

std::vector<std::byte> EncodeCall(const Call& call, const Writer& body) {
  Writer out;
  out.Byte('l');
  out.Byte(static_cast<uint8_t>(MessageType::kCall));
  out.Byte(kNoAutoStart);
  out.Byte(kVersion);
  out.Uint32(static_cast<uint32_t>(body.bytes().size()));
  out.Uint32(call.serial);
  auto fields = out.BeginArray(8);
  WriteField(out, kPath, "o", call.path);
  WriteField(out, kInterface, "s", call.interface);
  WriteField(out, kMember, "s", call.member);
  WriteField(out, kDestination, "s", call.destination);
  WriteField(out, kSignature, "g", call.signature);
  out.EndArray(fields);
  out.Align(8);
  out.Bytes(body.bytes());
  return std::move(out).Take();
}

Result<std::optional<size_t>> MessageSize(std::span<const std::byte> front) {
  if (front.size() < kFixedHeader) return std::optional<size_t>();
  if (front[0] != std::byte{'l'}) return Malformed("not little-endian");
  if (front[3] != std::byte{kVersion}) return Malformed("of another version");
  uint64_t body = LoadLittle<uint32_t>(front.data() + 4);
  uint64_t fields = LoadLittle<uint32_t>(front.data() + 12);
  uint64_t size = kFixedHeader + RoundUp8(fields) + body;
  if (size > kMaxMessage) return Malformed(Cat(size, " bytes, more than ", kMaxMessage));
  return std::optional<size_t>(size);
}

Result<Message> ParseMessage(std::span<const std::byte> whole) {
  auto size = TRY(MessageSize(whole));
  if (!size || *size != whole.size()) return Malformed("truncated");
  Message message;
  auto type = static_cast<uint8_t>(whole[1]);
  if (type == 0) return Malformed("of no type");
  message.type = static_cast<MessageType>(type);
  size_t fields_end = kFixedHeader + LoadLittle<uint32_t>(whole.data() + 12);
  Reader in(whole.first(fields_end), kFixedHeader);
  while (in.at() < fields_end) TRY(ReadField(in, message));
  Reader padding(whole, fields_end);
  TRY(padding.Align(8));
  auto body = whole.subspan(padding.at());
  message.body.assign(body.begin(), body.end());
  bool answer = message.type == MessageType::kReturn || message.type == MessageType::kError;
  if (answer && message.reply_serial == 0) return Malformed("answer to no call");
  return message;
}

}  // namespace msb::sys::dbus
