// SPDX-License-Identifier: Apache-2.0
// The seccomp policies, one for each kind of process we confine. The tables are in policies.cc.

#pragma once

#include "jail/seccomp_compiler.h"

namespace msb::jail {

// The number under which a jailed program's executable is opened for its one execveat().
inline constexpr int kProgramFd = 250;

extern const Filter kSupervisorFilter;  // Default kill.
extern const Filter kUnpackerFilter;    // Default kill.
extern const Filter kJailInitFilter;    // Default kill: waits, reports, exits.
// QEMU is large and changes: what we did not foresee answers ENOSYS, what an attacker would want
// kills.
extern const Filter kQemuFilter;
// msb-vmm until its threads have put on their own. Default kill.
extern const Filter kVmmStartFilter;

// A policy with the table that it was compiled from.
struct Policy {
  std::string_view name;
  std::span<const Rule> rules;
  uint32_t fallback;
  const Filter* filter;
};
std::array<Policy, 3> SmallProgramPolicies();  // Supervisor, unpacker, jail init.
Policy QemuPolicy();
Policy VmmStartPolicy();

}  // namespace msb::jail
