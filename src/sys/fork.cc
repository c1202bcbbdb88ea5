// SPDX-License-Identifier: Apache-2.0
// fork() with a pidfd.

#include "sys/fork.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

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

void CloseAllBut(std::span<const int> keep) {
  std::vector<int> sorted(keep.begin(), keep.end());
  std::sort(sorted.begin(), sorted.end());
  unsigned next = 0;
  for (int fd : sorted) {
    auto kept = static_cast<unsigned>(fd);
    if (kept > next) ::syscall(SYS_close_range, next, kept - 1, 0);
    next = kept + 1;
  }
  ::syscall(SYS_close_range, next, ~0u, 0);
}

Result<void> ForkBehind(std::span<const int> keep, const std::function<void()>& body) {
  pid_t pid = ::fork();
  if (pid == -1) return Error::Errno("fork");
  if (pid > 0) return {};
  ::setsid();
  CloseAllBut(keep);
  // The lowest numbers are free: 0 to 2, but for what is kept there.
  for (int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC); fd != -1 && fd < 2;)
    fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  body();
  ::_exit(0);
}

}  // namespace msb::sys
