// SPDX-License-Identifier: Apache-2.0
// Splitting, escaping, hex and suggestions.

#include "base/text.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace msb {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Damerau and Levenshtein's, where no piece is edited twice: two letters exchanged are one step.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, last, row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); i++) {
    before = std::exchange(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (exchanged) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

// The shortest word that begins so. Dashes alone begin every option.
std::optional<std::string> Completed(std::string_view typed,
                                     std::span<const std::string> candidates) {
  std::optional<std::string> best;
  size_t letters = typed.size() - std::min(typed.find_first_not_of('-'), typed.size());
  if (letters < 2) return best;
  for (const std::string& candidate : candidates)
    if (candidate.starts_with(typed) && (!best || candidate.size() < best->size()))
      best = candidate;
  return best;
}

}  // namespace

size_t Utf8SequenceLength(std::string_view text) {
  if (text.empty()) return 0;
  auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = at(0);
  size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (first > 0xf4 || length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; i++)
    if ((at(i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && at(1) < 0xa0) return 0;  // Overlong.
  if (first == 0xed && at(1) > 0x9f) return 0;  // Surrogates.
  if (first == 0xf0 && at(1) < 0x90) return 0;
  if (first == 0xf4 && at(1) > 0x8f) return 0;
  return length;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> pieces;
  size_t from = 0;
  for (size_t at; (at = text.find(separator, from)) != std::string_view::npos; from = at + 1)
    pieces.emplace_back(text.substr(from, at - from));
  pieces.emplace_back(text.substr(from));
  return pieces;
}

std::string Join(std::span<const std::string> pieces, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < pieces.size(); i++) {
    if (i != 0) out += separator;
    out += pieces[i];
  }
  return out;
}

std::string Escape(std::string_view untrusted, size_t limit) {
  std::string out;
  std::string_view rest = untrusted.substr(0, limit);
  while (!rest.empty()) {
    auto c = static_cast<unsigned char>(rest[0]);
    size_t length = Utf8SequenceLength(rest);
    // U+0080 to U+009F are control characters in two bytes; terminals obey them.
    bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && length == 2 && (rest[1] & 0xe0) == 0x80);
    if (length != 0 && !control) {
      out += rest.substr(0, length);
      rest.remove_prefix(length);
      continue;
    }
    out += "\\x";
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
    rest.remove_prefix(1);
  }
  if (untrusted.size() > limit) out += "...";
  return out;
}

std::string Hex(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    out += kDigits[static_cast<unsigned>(b) >> 4];
    out += kDigits[static_cast<unsigned>(b) & 15];
  }
  return out;
}

std::optional<std::vector<std::byte>> ParseHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = HexDigit(text[i]), low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::optional<std::string> Suggest(std::string_view typed,
                                   std::span<const std::string> candidates) {
  typed = typed.substr(0, 64);
  if (auto completed = Completed(typed, candidates)) return completed;
  std::optional<std::string> best;
  size_t nearest = std::min<size_t>(3, typed.size() / 2 + 1);
  auto length_off = [&](const std::string& word) {
    return std::max(word.size(), typed.size()) - std::min(word.size(), typed.size());
  };
  for (const std::string& candidate : candidates) {
    size_t distance = EditDistance(typed, candidate);
    if (distance > nearest || distance >= typed.size()) continue;
    // Of two as near the one as long: a slip of two letters is commoner than one left out.
    bool nearer = !best || distance < nearest || length_off(candidate) < length_off(*best);
    if (nearer) best = candidate;
    nearest = std::min(nearest, distance);
  }
  return best;
}

std::string DidYouMean(std::string_view typed, std::span<const std::string> candidates,
                       std::string_view otherwise) {
  auto near = Suggest(typed, candidates);
  return near ? Cat("did you mean ", *near, "?") : std::string(otherwise);
}

}  // namespace msb
