// SPDX-License-Identifier: Apache-2.0
// D-Bus messages as bytes, as far as a client of systemd needs them: method calls out, replies,
// errors and signals in. Little-endian only, which is what every peer on our hosts writes.
//
//   offset 0   byte order 'l', type, flags, version 1
//          4   length of the body
//          8   serial
//         12   length of the header fields, then each at a multiple of 8: code, variant
//          …   zeros to a multiple of 8, then the body
//
// D-Bus Specification 0.41, "Message Format" and "Marshaling (Wire Format)".

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace msb::sys::dbus {

// The specification allows 128 MiB; a manager's longest answer to us is a few kilobytes.
inline constexpr size_t kMaxMessage = 64 << 10;

enum class MessageType : uint8_t { kCall = 1, kReturn = 2, kError = 3, kSignal = 4 };

// Values one after the other, each at its alignment. What is written is ours: lengths fit.
class Writer {
 public:
  void Byte(uint8_t value) { bytes_.push_back(std::byte{value}); }
  void Uint32(uint32_t value);
  void Bool(bool value) { Uint32(value ? 1 : 0); }
  void Text(std::string_view text);  // STRING and OBJECT_PATH.
  void Signature(std::string_view signature);
  void Bytes(std::span<const std::byte> bytes);
  // Structures and dictionary entries begin at a multiple of 8.
  void Align(size_t alignment);

  // Elements are written between the two. The gap before the first one, to its alignment, is not
  // part of the array's length.
  struct Array {
    size_t length_at;
    size_t first_element;
  };
  Array BeginArray(size_t alignment);
  void EndArray(const Array& array);

  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte> Take() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Takes values off untrusted bytes that begin at a multiple of 8 of their message.
class Reader {
 public:
  // Begins at byte `at`, which is within `bytes`.
  explicit Reader(std::span<const std::byte> bytes, size_t at = 0) : bytes_(bytes), at_(at) {}

  Result<uint8_t> Byte();
  Result<uint32_t> Uint32();
  Result<std::string> Text();  // STRING and OBJECT_PATH: no NUL inside.
  Result<std::string> Signature();
  // The bytes that are skipped must be zero.
  Result<void> Align(size_t alignment);
  // A value of one basic type; others are an error.
  Result<void> SkipBasic(char type);

  size_t at() const { return at_; }

 private:
  Result<std::span<const std::byte>> Take(size_t count);
  Result<std::string> TakeText(size_t size);

  std::span<const std::byte> bytes_;
  size_t at_;
};

struct Call {
  uint32_t serial;
  std::string destination;  // Empty on a connection without a bus.
  std::string path;
  std::string interface;
  std::string member;
  std::string signature;  // Of the body; empty: none.
};
// A call that starts no service: a peer that is not there is an error at once.
std::vector<std::byte> EncodeCall(const Call& call, const Writer& body);

struct Message {
  MessageType type = MessageType::kCall;
  uint32_t reply_serial = 0;  // Of returns and errors, where it is not 0.
  std::string interface;
  std::string member;
  std::string error_name;
  std::string signature;
  std::vector<std::byte> body;
};

// Length of the message that these bytes begin; nullopt: too few to tell. Longer than kMaxMessage,
// big-endian or another version is an error.
Result<std::optional<size_t>> MessageSize(std::span<const std::byte> front);
// `whole` is exactly one message.
Result<Message> ParseMessage(std::span<const std::byte> whole);

}  // namespace msb::sys::dbus
