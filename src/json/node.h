// SPDX-License-Identifier: Apache-2.0
// The tree behind a Document; private to this module.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace msb::json {

struct Node {
  using Array = std::vector<Node>;
  struct Object;

  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array,
               std::unique_ptr<Object>>
      value;
};

struct Node::Object {
  std::vector<std::string> names;
  std::vector<Node> values;  // As many as names.
};

}  // namespace msb::json
