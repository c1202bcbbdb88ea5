// SPDX-License-Identifier: Apache-2.0
// Outcomes as JSON: in the record, and in the last frame of a control connection.

#pragma once

#include <string>
#include <string_view>

#include "json/codec.h"
#include "sandbox/outcome.h"

namespace msb::sandbox {

struct OutcomeMessage {
  Outcome outcome;
  std::string record_json;
};
// `record_json` is JSON already.
std::string ToJson(const Outcome& outcome, std::string_view record_json);
Result<OutcomeMessage> ParseOutcomeMessage(std::string_view json);

}  // namespace msb::sandbox

template <>
struct msb::json::Codec<msb::sandbox::Outcome> {
  static Result<void> Read(const Value& value, msb::sandbox::Outcome& into);
  static void Write(const msb::sandbox::Outcome& from, JsonWriter& out);
};
