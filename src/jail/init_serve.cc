// SPDX-License-Identifier: Apache-2.0
// An init's life after the start. A program that forks nothing costs it three system calls: wait,
// take the status, tell it.

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "jail/init.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

constexpr int kPidfdIdType = 3;  // P_PIDFD
// The program leads a session and a group, and is our first child.
constexpr pid_t kProgram = 2;

[[noreturn]] void TellEnd(int program, int status) {
  siginfo_t info;
  std::memset(&info, 0, sizeof info);
  if (::waitid(static_cast<idtype_t>(kPidfdIdType), static_cast<id_t>(program), &info, WEXITED) ==
      -1)
    ::_exit(1);
  int32_t told[2] = {info.si_code, info.si_status};
  [[maybe_unused]] ssize_t ignored = ::write(status, told, sizeof told);
  ::_exit(0);
}

void ReapOthers(int children) {
  signalfd_siginfo ignored;
  while (::read(children, &ignored, sizeof ignored) > 0) {
  }
  siginfo_t info;
  do {
    info.si_pid = 0;
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1) break;
    if (info.si_pid == 0 || info.si_pid == kProgram) break;
  } while (::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED) == 0);
}

}  // namespace

int Init::WatchChildren(StepNumber step) {
  sigset_t children;
  ::sigemptyset(&children);
  ::sigaddset(&children, SIGCHLD);
  Check(step, ::sigprocmask(SIG_BLOCK, &children, nullptr));
  int ended = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  Check(step, ended);
  return ended;
}

void Init::LetGoOfProgramsFds() {
  for (PlannedFd& fd : common_.fds) ::close(fd.fd);
}

void Init::Serve(int program, int children, const ServeSteps& steps) {
  Check(steps.no_new_privileges, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  DieWithParent(steps.parent_death);
  Check(steps.seccomp,
        sys::RawInstallSeccompFilter(common_.init_filter, common_.init_filter_length));
  if (common_.report != -1) ::close(common_.report);
  for (;;) {
    pollfd waits[] = {{program, POLLIN, 0}, {common_.leash, POLLIN, 0}, {children, POLLIN, 0}};
    if (::poll(waits, 3, -1) == -1) {
      if (errno == EINTR) continue;
      ::_exit(1);
    }
    if (waits[0].revents != 0) TellEnd(program, common_.status);
    if (waits[1].revents != 0) {
      char signal = 0;
      if (!common_.passes_signals || ::read(common_.leash, &signal, 1) != 1) ::_exit(1);
      if (signal > 0 && signal <= SIGRTMAX) ::kill(-kProgram, signal);
    }
    if (waits[2].revents != 0) ReapOthers(children);
  }
}

}  // namespace msb::jail
