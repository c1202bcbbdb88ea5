// SPDX-License-Identifier: Apache-2.0
// An outcome is {"kind", "code", "detail", "exit_code"}; the last is for readers only.

#include "sandbox/outcome_json.h"

namespace msb::sandbox {

std::string ToJson(const Outcome& outcome, std::string_view record_json) {
  JsonWriter out;
  out.BeginObject();
  out.Key("outcome");
  json::Codec<Outcome>::Write(outcome, out);
  out.Key("record").Raw(record_json);
  out.EndObject();
  return std::move(out).Take();
}

Result<OutcomeMessage> ParseOutcomeMessage(std::string_view text) {
  auto document =
      TRY(json::Document::Parse(text, {.unknown_fields = json::UnknownFields::kIgnore}));
  OutcomeMessage message;
  TRY(json::Codec<Outcome>::Read(TRY(document.root().Field("outcome")), message.outcome));
  // The record is the last field, and goes on as it came.
  constexpr std::string_view kKey = "\"record\":";
  size_t at = text.find(kKey);
  if (at == std::string_view::npos) return Error(Code::kDataLoss, "an outcome without the record");
  text.remove_prefix(at + kKey.size());
  text.remove_suffix(1);
  message.record_json = std::string(text);
  return message;
}

}  // namespace msb::sandbox

namespace msb::json {

Result<void> Codec<sandbox::Outcome>::Read(const Value& value, sandbox::Outcome& into) {
  into.kind = TRY(sandbox::ParseOutcomeKind(TRY(TRY(value.Field("kind")).String())));
  int64_t code = TRY(TRY(value.Field("code")).Integer());
  if (!std::in_range<int>(code)) return value.Complaint("code is out of range");
  into.code = static_cast<int>(code);
  into.detail = TRY(TRY(value.Field("detail")).String());
  return {};
}

void Codec<sandbox::Outcome>::Write(const sandbox::Outcome& from, JsonWriter& out) {
  out.BeginObject();
  out.Key("kind").String(sandbox::Name(from.kind));
  out.Key("code").Number(from.code);
  out.Key("detail").String(from.detail);
  out.Key("exit_code").Number(from.ExitCode());
  out.EndObject();
}

}  // namespace msb::json
