// SPDX-License-Identifier: Apache-2.0
// The grammar of names.

#include "base/name.h"

#include "base/text.h"

namespace msb {
namespace {

bool Alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

Result<void> CheckName(std::string_view name, std::string_view what) {
  auto bad = [&](std::string_view why) {
    return Error(Code::kInvalidArgument, Cat(what, " '", Escape(name, 80), "' ", why))
        .Remedy("use 1 to 63 letters, digits, '-' or '_', the first a letter or digit");
  };
  if (name.empty()) return bad("is empty");
  if (name.size() > 63) return bad("is longer than 63 characters");
  if (!Alphanumeric(name[0])) return bad("must start with a letter or digit");
  for (char c : name)
    if (!Alphanumeric(c) && c != '-' && c != '_') return bad("has a character outside A-Za-z0-9_-");
  return {};
}

Result<void> CheckHostname(std::string_view name) {
  auto bad = [&](std::string_view why) {
    return Error(Code::kInvalidArgument, Cat("host name '", Escape(name, 80), "' ", why))
        .Remedy("use letters, digits, '-' and '.', at most 64 characters");
  };
  if (name.empty() || name.size() > 64) return bad("must have 1 to 64 characters");
  for (const std::string& label : Split(name, '.')) {
    if (label.empty() || label.size() > 63) return bad("has an empty or too long part");
    if (label.front() == '-' || label.back() == '-')
      return bad("has a part that begins or ends in -");
    for (char c : label)
      if (!Alphanumeric(c) && c != '-')
        return bad("has a character that is no letter, digit, '-' or '.'");
  }
  return {};
}

}  // namespace msb
