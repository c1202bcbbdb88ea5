// SPDX-License-Identifier: Apache-2.0
// JSON for people's eyes, and numbers that are no integers; the rest of writing is
// base/json_writer.

#pragma once

#include <string>
#include <string_view>

namespace msb::json {

// `compact` (well-formed JSON without white space, as JsonWriter makes it) with a line for each
// member and item, two spaces a level; ends without a newline.
std::string Pretty(std::string_view compact);

// `text` as a JSON string, quotes included.
std::string Quote(std::string_view text);

// The shortest token that reads back as `value`; NaN and infinities, which JSON has not, are null.
std::string NumberToken(double value);

}  // namespace msb::json
