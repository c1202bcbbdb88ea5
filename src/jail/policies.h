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
extern const Filter kBoxInitFilter;     // As that, and passes signals on.
// QEMU is large and changes: what we did not foresee answers ENOSYS, what an attacker would want
// kills.
extern const Filter kQemuFilter;

// msb-vmm, by what it does; default kill. The first is the jail's, for the load of the program; the
// second the whole process's while it builds the machine, and allows what the others do; each
// thread then takes its own on top.
extern const Filter kVmmLoadFilter;
extern const Filter kVmmStartFilter;
extern const Filter kVmmDeviceFilter;
extern const Filter kVmmWorkerFilter;
extern const Filter kVmmCpuFilter;

// A policy with the table that it was compiled from.
struct Policy {
  std::string_view name;
  std::span<const Rule> rules;
  uint32_t fallback;
  const Filter* filter;
};
std::array<Policy, 4> SmallProgramPolicies();  // Supervisor, unpacker, jail init, sandbox init.
Policy QemuPolicy();
std::array<Policy, 5> VmmPolicies();  // Load, start, devices, worker, processor.

}  // namespace msb::jail
