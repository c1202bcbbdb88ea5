// SPDX-License-Identifier: Apache-2.0
// What a parent hands to the init of a jail or a process sandbox, as far as the two are one:
// everything worked out beforehand, so that the init only makes system calls. Pointers lead into
// memory of the parent, of which the init has a copy.

#pragma once

#include <linux/filter.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace msb::jail {

// A step of a start: a value of the jail's or the sandbox's own enumeration.
struct StepNumber {
  template <class Step>
  requires std::is_enum_v<Step>
  constexpr StepNumber(Step step)  // NOLINT(google-explicit-constructor): said by its own name.
      : value(static_cast<uint8_t>(step)) {}
  uint8_t value;
};

// One report by the child, then it exits; nothing but end of file when the program was started.
struct StepReport {
  uint8_t step;
  int32_t error;
  uint32_t index;  // Which bind, file, limit or descriptor.
};

struct PlannedFd {
  int fd;      // Where the init finds it; the init moves it and writes the new number here.
  int number;  // Where the program finds it.
};

struct ResourceLimit {
  int resource;  // RLIMIT_*
  rlimit value;
};

// Descriptors that the program is given lie below this, and the init's own above.
inline constexpr int kMaxProgramNumber = 199;
inline constexpr int kFirstInitFd = 260;
// Of all kinds that an init keeps: doors, the program's, its own.
inline constexpr size_t kMostKeptFds = 128;

struct InitPlan {
  std::span<PlannedFd> fds;  // 0, 1 and 2 among them.
  std::span<const ResourceLimit> limits;
  uid_t uid;  // The program's.
  gid_t gid;
  const sock_filter* filter;  // The program's, then the init's own.
  unsigned short filter_length;
  const sock_filter* init_filter;
  unsigned short init_filter_length;
  int landlock_abi;
  // Of version 1 cgroups: a "0" into each enters it. Empty: cloned into its cgroup, or there is
  // none.
  std::span<int> cgroup_doors;

  int report;  // Write ends and read ends as the parent numbered them.
  int status;
  int leash;            // Its end is the end of all.
  bool passes_signals;  // What comes over the leash: the command's group gets them.
  int parent_pidfd;
  int slot_lock;  // -1: none. Held by the init too, so that ids are free only when all is over.
  int fail_at;    // A step that must fail (tests), or -1.
};

}  // namespace msb::jail
