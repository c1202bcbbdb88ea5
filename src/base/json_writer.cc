// SPDX-License-Identifier: Apache-2.0
// Escaping and commas of the JSON writer (RFC 8259).

#include "base/json_writer.h"

namespace msb {
namespace {

void AppendEscaped(std::string& out, std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[i++];
    } else if (c < 0x20) {
      constexpr char kDigits[] = "0123456789abcdef";
      out += "\\u00";
      out += kDigits[c >> 4];
      out += kDigits[c & 15];
      i++;
    } else if (c < 0x80) {
      out += text[i++];
    } else {
      size_t length = Utf8SequenceLength(text.substr(i));
      if (length == 0) {
        out += "\xef\xbf\xbd";
        i++;
      } else {
        out += text.substr(i, length);
        i += length;
      }
    }
  }
}

}  // namespace

void JsonWriter::Separate() {
  if (comma_) text_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Separate();
  text_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  text_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  String(key);
  text_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view text) {
  Separate();
  text_ += '"';
  AppendEscaped(text_, text);
  text_ += '"';
  return *this;
}

JsonWriter& JsonWriter::Raw(std::string_view token) {
  Separate();
  text_ += token;
  return *this;
}

std::string ErrorJson(const Error& error) {
  JsonWriter json;
  json.BeginObject().Key("error").BeginObject();
  json.Key("code").String(CodeName(error.code()));
  json.Key("message").String(error.message());
  json.Key("remedy");
  error.remedy().empty() ? json.Null() : json.String(error.remedy());
  json.EndObject().EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace msb
