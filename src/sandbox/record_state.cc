// SPDX-License-Identifier: Apache-2.0
// state.json and the record that people and scripts see.

#include "sandbox/record_state.h"

#include "base/text.h"
#include "sandbox/outcome_json.h"
#include "sandbox/spec_json.h"

template <>
struct msb::json::EnumNames<msb::sandbox::State> {
  static constexpr std::pair<std::string_view, msb::sandbox::State> kNames[] = {
      {"starting", msb::sandbox::State::kStarting},
      {"running", msb::sandbox::State::kRunning},
      {"stopping", msb::sandbox::State::kStopping},
      {"ended", msb::sandbox::State::kEnded},
  };
};

template <>
struct msb::json::Fields<msb::sandbox::StartStep> {
  using Step = msb::sandbox::StartStep;
  static constexpr auto kTable =
      std::array{Required<&Step::step>("step"), Required<&Step::at_us>("at_us")};
};

template <>
struct msb::json::Fields<msb::sandbox::RecordState> {
  using S = msb::sandbox::RecordState;
  static constexpr auto kTable = std::array{
      Required<&S::state>("state"),
      Required<&S::created_unix_ns>("created_unix_ns"),
      Required<&S::ended_unix_ns>("ended_unix_ns"),
      Required<&S::walls>("walls"),
      Required<&S::limits>("limits"),
      Required<&S::missing_limits>("missing_limits"),
      Required<&S::ids>("ids"),
      Required<&S::machine_uid>("machine_uid"),
      Required<&S::supervisor_walls>("supervisor_walls"),
      Required<&S::cgroups>("cgroups"),
      // Other releases of ours read and write the same homes, and not all of them note this.
      Optional<&S::cgroup_way>("cgroup_way"),
      Required<&S::guest_release>("guest_release"),
      Required<&S::supervisor_pid>("supervisor_pid"),
      Required<&S::start>("start"),
      Optional<&S::outcome>("outcome"),
  };
};

namespace msb::sandbox {

std::string_view Name(State state) {
  for (const auto& [name, value] : json::EnumNames<State>::kNames)
    if (value == state) return name;
  return "unknown";
}

std::string ToJson(const RecordState& state) { return json::Encode(state); }

Result<RecordState> ParseRecordState(std::string_view text) {
  return json::Decode<RecordState>(text);
}

std::string CommandText(const SandboxSpec& spec) {
  if (!spec.main) return spec.command.empty() ? "-" : spec.command;
  return Escape(Join(spec.main->argv, " "), 512);
}

std::string RecordJson(std::string_view id, const SandboxSpec& spec, std::string_view spec_json,
                       const RecordState& state) {
  JsonWriter out;
  out.BeginObject();
  out.Key("id").String(id);
  if (spec.name.empty())
    out.Key("name").Null();
  else
    out.Key("name").String(spec.name);
  if (spec.image.empty())
    out.Key("image").Null();
  else
    out.Key("image").String(spec.image);
  out.Key("isolation").String(Name(spec.isolation));
  out.Key("lifetime").String(spec.lifetime == Lifetime::kAttached ? "attached" : "detached");
  out.Key("command").String(CommandText(spec));
  for (const auto& field : json::Fields<RecordState>::kTable) {
    out.Key(field.name);
    field.write(state, out);
  }
  out.Key("spec");
  if (spec_json.empty())
    out.Null();
  else
    out.Raw(spec_json);
  out.EndObject();
  return std::move(out).Take();
}

}  // namespace msb::sandbox
