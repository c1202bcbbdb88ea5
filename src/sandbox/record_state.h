// SPDX-License-Identifier: Apache-2.0
// What a record says of its sandbox beside the spec: state.json, replaced as a whole by the
// supervisor, read by everybody.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/outcome.h"
#include "sandbox/sandboxes.h"

namespace msb::sandbox {

// One step of the start-up breakdown: when it was reached, from the caller's Start().
struct StartStep {
  std::string step;  // "spec", "record", "disk", "cgroup", "machine started", "guest reset", ...
  int64_t at_us = 0;
};

struct RecordState {
  State state = State::kStarting;
  int64_t created_unix_ns = 0;
  int64_t ended_unix_ns = 0;  // 0: not ended.
  // What holds the machine: walls, then limits ("memory: cgroup", "cpu: none (why)").
  std::vector<std::string> walls;
  std::vector<std::string> limits;
  std::vector<std::string> missing_limits;
  std::string ids;
  uint32_t machine_uid = 0;
  std::vector<std::string> supervisor_walls;
  std::vector<std::string> cgroups;
  // How they were got: "given", "scope of the system's manager", "scope of the user's manager",
  // "plain", "none" (missing_limits says why); empty: not noted.
  std::string cgroup_way;
  std::string guest_release;
  // For people: nothing of ours signals by number.
  int64_t supervisor_pid = 0;
  std::vector<StartStep> start;
  std::optional<Outcome> outcome;
};

std::string ToJson(const RecordState& state);
Result<RecordState> ParseRecordState(std::string_view json);

// The whole record as `inspect` shows it. `spec_json` is spec.json as it is on disk; empty: null.
std::string RecordJson(std::string_view id, const SandboxSpec& spec, std::string_view spec_json,
                       const RecordState& state);
// The main command for people, else "-".
std::string CommandText(const SandboxSpec& spec);

}  // namespace msb::sandbox
