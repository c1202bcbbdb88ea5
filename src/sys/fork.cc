// SPDX-License-Identifier: Apache-2.0
// fork() with a pidfd.

#include "sys/fork.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace msb::sys {

Result<Child> ForkChild(const std::function<int()>& body) {
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid == -1) return Error::Errno("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::_exit(body());
  }
  auto pidfd = PidfdOpen(pid);
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return std::move(pidfd).error();
  }
  return Child(*std::move(pidfd));
}

}  // namespace msb::sys
