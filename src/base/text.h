// SPDX-License-Identifier: Apache-2.0
// Text helpers that cost a small program nothing: joining pieces, splitting, escaping, hex.

#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace msb {

namespace internal {
inline void Append(std::string& out, std::string_view piece) { out += piece; }
inline void Append(std::string& out, char piece) { out += piece; }
template <std::integral T>
requires(!std::same_as<T, char> && !std::same_as<T, bool>) void Append(std::string& out, T piece) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, piece).ptr;
  out.append(buffer, static_cast<size_t>(end - buffer));
}
}  // namespace internal

// Cat("exec ", id, ": ", name): strings, characters and integers joined.
template <class... Pieces>
std::string Cat(const Pieces&... pieces) {
  std::string out;
  (internal::Append(out, pieces), ...);
  return out;
}

std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(std::span<const std::string> pieces, std::string_view separator);

// The whole text as a decimal number within T; nothing else (no sign for unsigned, no spaces).
template <std::integral T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// Bytes from outside, made safe for a terminal or a log line: control bytes and invalid UTF-8 as
// \xNN, at most `limit` bytes of input with "..." where it was cut.
std::string Escape(std::string_view untrusted, size_t limit = 512);

// Length of the valid UTF-8 sequence at the front of `text` (RFC 3629), 0 when there is none.
size_t Utf8SequenceLength(std::string_view text);

std::string Hex(std::span<const std::byte> bytes);
// Two lower-case digits a byte, nothing else.
std::optional<std::vector<std::byte>> ParseHex(std::string_view text);

// The shortest candidate that begins with `typed`, else the nearest by edit distance, if near
// enough to be what was meant.
std::optional<std::string> Suggest(std::string_view typed, std::span<const std::string> candidates);
// "did you mean exec?", or `otherwise` when nothing is near.
std::string DidYouMean(std::string_view typed, std::span<const std::string> candidates,
                       std::string_view otherwise);

}  // namespace msb
