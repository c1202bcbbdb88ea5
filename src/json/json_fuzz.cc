// SPDX-License-Identifier: Apache-2.0
// Any bytes into the parser; what it accepts is walked to every leaf.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "json/value.h"

namespace {

void Walk(const msb::json::Value& value) {
  using msb::json::Kind;
  if (value.kind() == Kind::kArray) {
    auto items = *value.Items();
    for (const auto& item : items) Walk(item);
  } else if (value.kind() == Kind::kObject) {
    auto names = *value.Names();
    for (const auto& name : names) {
      auto field = value.Field(name);
      CHECK(field.ok());
      Walk(*field);
    }
  } else {
    CHECK(value.Bool().ok() || value.Number().ok() || value.String().ok() || value.is_null());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // SAFETY: char may alias anything.
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto document = msb::json::Document::Parse(text, {.max_bytes = 1 << 16, .max_values = 4096});
  if (document.ok()) Walk(document->root());
  return 0;
}
