// SPDX-License-Identifier: Apache-2.0
// The cgroup of a sandbox, and the supervisor's way out of its caller's: a delegated one that was
// given, else a transient scope from systemd, else plain cgroup file systems.

#pragma once

#include <cstdint>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/handover.h"
#include "sandbox/supervisor.h"
#include "sys/systemd_scope.h"

namespace msb::sandbox {

// What was asked of systemd: nullopt where a scope is not the way.
using ScopeAsked = std::optional<Result<sys::ScopeRequest>>;

// Asks for `msb-<id>.scope`, which this process is then moved into while it does other things.
ScopeAsked AskForScope(const Handover& handover, std::string_view id);

// In bytes: what the machine may take of the host's memory; `disk_in_memory`: LiesInMemory().
uint64_t MachineMemoryLimit(const SandboxSpec& spec, bool disk_in_memory);

// Makes the machine's cgroup, with its limits, in the best place that this host offers. Limits that
// cannot be set are named in `parts.state`; they are an error with --require-limits, and so is a
// cgroup that was given and does not work.
Result<void> MakeCgroup(BorrowedFd home, bool disk_in_memory, ScopeAsked asked,
                        SupervisorParts& parts);

// After the machine's start, because a move takes up to 14 ms, in which the guest boots. In a scope
// it has happened already.
Result<void> LeaveCaller(SupervisorParts& parts);

}  // namespace msb::sandbox
