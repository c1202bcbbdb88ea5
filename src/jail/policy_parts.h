// SPDX-License-Identifier: Apache-2.0
// What the policies' tables are put together with.

#pragma once

#include <array>
#include <cstddef>

#include "jail/seccomp_compiler.h"

namespace msb::jail {

template <size_t... kSizes>
consteval auto Join(const std::array<Rule, kSizes>&... parts) {
  std::array<Rule, (kSizes + ...)> all{};
  size_t at = 0;
  auto append = [&](const auto& part) {
    for (const Rule& rule : part) all[at++] = rule;
  };
  (append(parts), ...);
  return all;
}

#if defined(MSB_SANITIZED)
// The wider policy of sanitizer builds: shadow memory, stack traces, the leak check at exit.
inline constexpr auto kSanitizer = std::to_array<Rule>({
    {"mmap"},         {"mprotect"},
    {"prctl"},        {"prlimit64"},
    {"getrlimit"},    {"sched_getaffinity"},
    {"clone"},        {"wait4"},
    {"ptrace"},       {"process_vm_readv"},
    {"readlink"},     {"open"},
    {"openat"},       {"stat"},
    {"ioctl"},        {"uname"},
    {"getppid"},      {"sysinfo"},
    {"fstat"},        {"newfstatat"},
    {"pipe2"},        {"getrusage"},
    {"kill"},         {"set_tid_address"},
    {"arch_prctl"},   {"set_robust_list"},
    {"personality"},  {"msync"},
    {"mincore"},      {"nanosleep"},
    {"gettimeofday"}, {"clock_nanosleep"},
});
#endif

}  // namespace msb::jail
