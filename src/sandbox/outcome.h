// SPDX-License-Identifier: Apache-2.0
// How a sandbox, or the command in it, ended.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/messages.h"

namespace msb::sandbox {

enum class OutcomeKind : uint8_t {
  kExited,       // The command ended by itself: code.
  kSignaled,     // By a signal: code is its number.
  kOutOfMemory,  // The guest's kernel killed it for memory.
  kTimeout,      // --timeout passed.
  kStopped,      // Stopped or killed by its user.
  kBootFailed,   // No hello; `detail` names the last stage reached.
  kMachineDied,  // After the hello: panic, reset, QEMU gone; `detail` says which.
  kHostStorageFull,
  kSupervisorDied,  // Concluded by a reader of the record: lock free, no outcome.
};
std::string_view Name(OutcomeKind kind);  // "exited", "signaled", "out_of_memory", ...
Result<OutcomeKind> ParseOutcomeKind(std::string_view text);

struct Outcome {
  OutcomeKind kind = OutcomeKind::kExited;
  int code = 0;
  std::string detail;  // One sentence for the user; escaped already.

  // As scripts see it: 0..255 the program's own, 128+n signal, 137 out of memory, 124 timeout,
  // 125 before the command started, 120 the machine died after the hello.
  int ExitCode() const;
};
Outcome ToOutcome(const protocol::ExecExit& exit);
// 127 not found, 126 not executable, else 125.
int ExitCode(const protocol::ExecFailed& failed);

}  // namespace msb::sandbox
