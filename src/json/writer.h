// SPDX-License-Identifier: Apache-2.0
// Writing JSON: text in the order of the calls, so the same values give the same bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace msb::json {

enum class Style : uint8_t {
  kCompact,  // One line, no spaces.
  kPretty,   // Two spaces a level; no newline at the end.
};

// Begin/End and Key must nest rightly; a mistake there is ours and aborts. Text that is not UTF-8
// is written with U+FFFD in place of each bad byte: file names from a guest may hold anything, and
// JSON must stay JSON.
class Writer {
 public:
  explicit Writer(Style style = Style::kCompact) : style_(style) {}

  Writer& BeginObject();
  Writer& EndObject();
  Writer& BeginArray();
  Writer& EndArray();
  Writer& Key(std::string_view name);

  Writer& String(std::string_view text);
  Writer& Integer(int64_t value);
  Writer& Unsigned(uint64_t value);
  Writer& Number(double value);  // NaN and infinities, which JSON has not, become null.
  Writer& Bool(bool value);
  Writer& Null();

  std::string Take() &&;

 private:
  struct Level {
    char close;
    size_t count = 0;
  };
  void BeforeValue();
  void NewLine();
  Writer& Begin(char open, char close);
  Writer& End(char close);
  Writer& Raw(std::string_view text);

  Style style_;
  std::string out_;
  std::vector<Level> levels_;
  bool after_key_ = false;
};

// `text` as a JSON string, quotes included.
std::string Quote(std::string_view text);

}  // namespace msb::json
