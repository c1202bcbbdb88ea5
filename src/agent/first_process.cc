// SPDX-License-Identifier: Apache-2.0
#include "agent/first_process.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace msb::agent {

void PrepareFirstProcess() {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // For the agent itself; an exec gets its own limit. No limit of processes but the cgroup's, or
  // the one that a process sandbox was started with and cannot raise.
  rlimit files = {524288, 524288};
  ::setrlimit(RLIMIT_NOFILE, &files);
  rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_NPROC, &unlimited);
  rlimit no_core = {0, RLIM_INFINITY};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::umask(022);
}

}  // namespace msb::agent
