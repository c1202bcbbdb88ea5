// SPDX-License-Identifier: Apache-2.0
// A JSON writer for programs that write JSON and read none: appends tokens in the order of the
// calls and puts the commas where they belong.
//   JsonWriter json; json.BeginObject(); json.Key("id").String(id); json.EndObject();

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/text.h"

namespace msb {

class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  // Bytes that are not UTF-8 become U+FFFD.
  JsonWriter& String(std::string_view text);
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  template <std::integral T>
  JsonWriter& Number(T value) {
    return Raw(Cat(value));
  }
  // A token that is JSON already.
  JsonWriter& Raw(std::string_view token);

  std::string Take() && { return std::move(text_); }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();

  std::string text_;
  bool comma_ = false;
};

// How every program of ours tells an error to a machine: {"error":{"code":..,"message":..,"remedy":
// .. or null}} and a newline.
std::string ErrorJson(const Error& error);

}  // namespace msb
