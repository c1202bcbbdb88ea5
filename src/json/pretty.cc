// SPDX-License-Identifier: Apache-2.0
// Laying out JSON that is right already: only strings have to be told from structure.
#include "json/pretty.h"

#include <charconv>
#include <cmath>

#include "base/json_writer.h"

namespace msb::json {
namespace {

// The string token at the front of `text`, quotes included.
std::string_view StringToken(std::string_view text) {
  size_t end = 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return text.substr(0, end + 1);
}

}  // namespace

std::string Pretty(std::string_view compact) {
  std::string out;
  size_t level = 0;
  auto new_line = [&] {
    out += '\n';
    out.append(2 * level, ' ');
  };
  while (!compact.empty()) {
    char c = compact.front();
    if (c == '"') {
      std::string_view token = StringToken(compact);
      out += token;
      compact.remove_prefix(token.size());
      continue;
    }
    compact.remove_prefix(1);
    bool opens = c == '{' || c == '[';
    bool empty = opens && !compact.empty() && (compact.front() == '}' || compact.front() == ']');
    if (empty) {
      out += c;
      out += compact.front();
      compact.remove_prefix(1);
    } else if (opens) {
      out += c;
      level++;
      new_line();
    } else if (c == '}' || c == ']') {
      level -= level > 0 ? 1 : 0;
      new_line();
      out += c;
    } else {
      out += c;
      if (c == ',') new_line();
      if (c == ':') out += ' ';
    }
  }
  return out;
}

std::string Quote(std::string_view text) {
  JsonWriter writer;
  writer.String(text);
  return std::move(writer).Take();
}

std::string NumberToken(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, static_cast<size_t>(end - text)};
}

}  // namespace msb::json
