// SPDX-License-Identifier: Apache-2.0
// What a user types, as a box::Spec and what goes around it.

#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/units.h"
#include "jail/box/spec.h"
#include "network/address.h"
#include "network/policy.h"

namespace msb::microbox {

struct Options {
  box::Spec spec;       // Without filter, cgroup and network.
  bool bridge = false;  // A link to the world in the sandbox's own network.
  network::Policy policy;
  std::vector<network::PublishedPort> ports;
  std::vector<std::string> allow_calls, deny_calls;
  bool log_denied = false;
  std::string learn, profile;  // Files; empty: none.
  uint32_t cpu_milli = 1000;   // 0: unlimited, as are the others.
  uint64_t memory_bytes = kGiB;
  uint32_t pids = 4096;
  uint64_t io_bytes = 0;  // A second, read and written each, on each disk that the sandbox reaches.
  bool require_limits = false;
  bool storage_given = false;            // The spec's storage is the user's and not the default.
  std::string name;                      // Empty: none.
  std::optional<uint64_t> output_limit;  // Bytes of stdout and stderr together.
  std::optional<int> status_fd;
  enum class Terminal : uint8_t { kAuto, kYes, kNo } terminal = Terminal::kAuto;
  std::optional<std::chrono::milliseconds> timeout;
  std::chrono::milliseconds kill_after = std::chrono::seconds(10);
  LogLevel log_level = LogLevel::kError;
  bool log_json = false;
  enum class Action : uint8_t { kRun, kHelp, kVersion, kDoctor } action = Action::kRun;
};

// `words` without the program's name. Errors are the user's: kInvalidArgument with a remedy.
Result<Options> ParseOptions(std::span<const std::string_view> words);

// Options in groups with their defaults, and examples.
std::string HelpText();

}  // namespace msb::microbox
