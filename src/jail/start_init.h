// SPDX-License-Identifier: Apache-2.0
// An init from outside: what the parent of a jail and that of a process sandbox do alike.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/init_plan.h"
#include "sys/cgroup.h"
#include "sys/file.h"

namespace msb::jail {

// Descriptors between parent and init, beside the leash.
struct InitChannels {
  sys::Pipe report, status;
  UniqueFd self;  // The parent's pidfd.

  static Result<InitChannels> Create();
  void FillPlan(InitPlan& plan) const;
  // After the clone: an end of file is then the init's.
  void CloseInitsEnds();
};

// Opened before the start, so that the init enters by itself.
struct CgroupDoors {
  std::vector<UniqueFd> fds;
  std::vector<int> numbers;

  static Result<CgroupDoors> Open(const sys::Cgroup* cgroup);
};

struct ClonedInit {
  int pid;  // 0: this is the init.
  UniqueFd pidfd;
};
// In new namespaces for mounts, PIDs, IPC and UTS, and in `more` (CLONE_NEW*), and in the cgroup
// where that is of version 2. The cgroup namespace is the init's business, Init::EnterCgroup().
// SAFETY: a fork of a caller with one thread. Where pid is 0, nothing but the init's function may
// follow.
Result<ClonedInit> CloneInit(uint64_t more, const sys::Cgroup* cgroup);

// Returns when the program was executed (nullopt), or with the step that failed. `steps`: how many
// there are.
Result<std::optional<StepReport>> HearReport(BorrowedFd report, StepNumber steps);

// How the program of a jail, or the command of a sandbox, ended.
struct JailExit {
  enum class How : uint8_t { kExited, kSignaled, kKilledWithJail };
  How how;
  int value = 0;  // Exit code or signal number; kKilledWithJail: nobody was left to tell.
};
// Reaps the init and reads what it told. Waits for its end.
Result<JailExit> ReapInit(UniqueFd& pidfd, BorrowedFd status);
// Ends the init, and with it all that is in its PID namespace; to be reaped all the same.
void KillInit(BorrowedFd pidfd, UniqueFd& leash);

}  // namespace msb::jail
