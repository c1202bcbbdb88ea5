// SPDX-License-Identifier: Apache-2.0
// Outcomes: their names and what scripts see of them.

#include "sandbox/outcome.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace msb::sandbox {
namespace {

constexpr std::array<std::string_view, 9> kNames = {
    "exited",      "signaled",     "out_of_memory",     "timeout",         "stopped",
    "boot_failed", "machine_died", "host_storage_full", "supervisor_died",
};

}  // namespace

std::string_view Name(OutcomeKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<OutcomeKind> ParseOutcomeKind(std::string_view text) {
  auto found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end())
    return Error(Code::kInvalidArgument, Cat("unknown outcome \"", Escape(text, 64), "\""));
  return static_cast<OutcomeKind>(found - kNames.begin());
}

int Outcome::ExitCode() const {
  switch (kind) {
    case OutcomeKind::kExited:
      return code;
    case OutcomeKind::kSignaled:
      return 128 + code;
    case OutcomeKind::kOutOfMemory:
      return 137;
    case OutcomeKind::kTimeout:
      return 124;
    case OutcomeKind::kBootFailed:
      return 125;
    case OutcomeKind::kStopped:
    case OutcomeKind::kMachineDied:
    case OutcomeKind::kHostStorageFull:
    case OutcomeKind::kSupervisorDied:
      return 120;
  }
  return 120;
}

Outcome ToOutcome(const protocol::ExecExit& exit) {
  switch (exit.kind) {
    case protocol::ExitKind::kExited:
      return {.kind = OutcomeKind::kExited, .code = exit.code, .detail = ""};
    case protocol::ExitKind::kSignaled:
      return {.kind = OutcomeKind::kSignaled, .code = exit.code, .detail = ""};
    case protocol::ExitKind::kOutOfMemory:
      return {.kind = OutcomeKind::kOutOfMemory,
              .code = exit.code,
              .detail = "the guest ran out of memory and its kernel killed the command"};
  }
  return {.kind = OutcomeKind::kMachineDied, .code = 0, .detail = "unknown kind of exit"};
}

int ExitCode(const protocol::ExecFailed& failed) {
  if (failed.reason == protocol::FailReason::kCommandNotFound) return 127;
  if (failed.reason == protocol::FailReason::kNotExecutable) return 126;
  return 125;
}

}  // namespace msb::sandbox
