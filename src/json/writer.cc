// SPDX-License-Identifier: Apache-2.0
// Writer: commas, indentation, escapes and UTF-8 repair.
#include "json/writer.h"

#include <charconv>
#include <cmath>

#include "base/check.h"

namespace msb::json {
namespace {

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none (Unicode 15,
// table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t SequenceLength(std::string_view text) {
  auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  auto tail = [&](size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return tail(1) ? 2 : 0;
  if (first < 0xf0) {
    if (!tail(1) || !tail(2)) return 0;
    if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f)) return 0;
    return 3;
  }
  if (first < 0xf5) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if ((first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

void AppendEscaped(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    char c = text.front();
    size_t length = SequenceLength(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
      length = 1;
    } else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '"' ||
                               c == '\\')) {
      AppendEscaped(out, c);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  out += '"';
}

}  // namespace

void Writer::NewLine() {
  if (style_ == Style::kCompact) return;
  out_ += '\n';
  out_.append(2 * levels_.size(), ' ');
}

void Writer::BeforeValue() {
  if (levels_.empty()) {
    CHECK(out_.empty());
    return;
  }
  if (levels_.back().close == '}') {
    CHECK(after_key_);
    after_key_ = false;
    return;
  }
  if (levels_.back().count++ > 0) out_ += ',';
  NewLine();
}

Writer& Writer::Begin(char open, char close) {
  BeforeValue();
  out_ += open;
  levels_.push_back({close});
  return *this;
}

Writer& Writer::End(char close) {
  CHECK(!levels_.empty() && levels_.back().close == close && !after_key_);
  bool filled = levels_.back().count > 0;
  levels_.pop_back();
  if (filled) NewLine();
  out_ += close;
  return *this;
}

Writer& Writer::BeginObject() { return Begin('{', '}'); }
Writer& Writer::EndObject() { return End('}'); }
Writer& Writer::BeginArray() { return Begin('[', ']'); }
Writer& Writer::EndArray() { return End(']'); }

Writer& Writer::Key(std::string_view name) {
  CHECK(!levels_.empty() && levels_.back().close == '}' && !after_key_);
  if (levels_.back().count++ > 0) out_ += ',';
  NewLine();
  AppendQuoted(out_, name);
  out_ += style_ == Style::kCompact ? ":" : ": ";
  after_key_ = true;
  return *this;
}

Writer& Writer::Raw(std::string_view text) {
  BeforeValue();
  out_ += text;
  return *this;
}

Writer& Writer::String(std::string_view text) {
  BeforeValue();
  AppendQuoted(out_, text);
  return *this;
}

Writer& Writer::Integer(int64_t value) { return Raw(std::to_string(value)); }
Writer& Writer::Unsigned(uint64_t value) { return Raw(std::to_string(value)); }
Writer& Writer::Bool(bool value) { return Raw(value ? "true" : "false"); }
Writer& Writer::Null() { return Raw("null"); }

Writer& Writer::Number(double value) {
  if (!std::isfinite(value)) return Null();
  char text[32];
  auto end = std::to_chars(text, text + sizeof text, value);
  CHECK(end.ec == std::errc());
  return Raw({text, static_cast<size_t>(end.ptr - text)});
}

std::string Writer::Take() && {
  CHECK(levels_.empty() && !after_key_);
  return std::move(out_);
}

std::string Quote(std::string_view text) {
  std::string out;
  AppendQuoted(out, text);
  return out;
}

}  // namespace msb::json
