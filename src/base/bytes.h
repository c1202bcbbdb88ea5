// SPDX-License-Identifier: Apache-2.0
// Reading and writing little-endian bytes: what wire formats and disk formats are made of.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace msb {

static_assert(std::endian::native == std::endian::little, "x86_64 and aarch64 Linux only");

inline std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view AsText(std::span<const std::byte> bytes) {
  // SAFETY: char may alias anything.
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
requires std::is_trivially_copyable_v<T> T LoadLittle(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
requires std::is_trivially_copyable_v<T>
void StoreLittle(std::byte* to, T value) { std::memcpy(to, &value, sizeof value); }

// Takes values off the front of untrusted bytes. Every getter fails on too few bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  Result<T> Number() {
    static_assert(std::is_integral_v<T>);
    if (rest_.size() < sizeof(T)) return Truncated();
    T value = LoadLittle<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  Result<std::span<const std::byte>> Bytes(size_t count) {
    if (rest_.size() < count) return Truncated();
    auto front = rest_.first(count);
    rest_ = rest_.subspan(count);
    return front;
  }
  // A 32-bit length, then that many bytes, at most `limit`.
  Result<std::string> Text(size_t limit);

  size_t remaining() const { return rest_.size(); }
  // Fails when bytes are left: a message is exactly its fields.
  Result<void> End() const;

 private:
  static Error Truncated() { return Error(Code::kInvalidArgument, "truncated"); }
  std::span<const std::byte> rest_;
};

class ByteWriter {
 public:
  template <class T>
  void Number(T value) {
    static_assert(std::is_integral_v<T>);
    size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    StoreLittle(bytes_.data() + at, value);
  }
  void Bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void Text(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    Bytes(AsBytes(text));
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte> Take() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace msb
