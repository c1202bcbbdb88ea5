// SPDX-License-Identifier: Apache-2.0
// Raw mode and back.

#include "sys/terminal.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

namespace msb::sys {

namespace {

// A background process that changes its terminal is stopped by SIGTTOU, unless it blocks it: the
// way back must work from wherever the shell has put us.
void SetFromAnywhere(int fd, const termios& mode) {
  sigset_t ttou, before;
  ::sigemptyset(&ttou);
  ::sigaddset(&ttou, SIGTTOU);
  ::sigprocmask(SIG_BLOCK, &ttou, &before);
  (void)TEMP_FAILURE_RETRY(::tcsetattr(fd, TCSADRAIN, &mode));
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

std::optional<winsize> GetWindowSize(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == -1) return std::nullopt;
  return size;
}

Result<RawTerminal> RawTerminal::Enter(int fd) {
  termios saved;
  if (::tcgetattr(fd, &saved) == -1) return Error::Errno("tcgetattr");
  termios raw = saved;
  ::cfmakeraw(&raw);
  // In the background this stops us until the shell brings us to the front, as for any program.
  if (TEMP_FAILURE_RETRY(::tcsetattr(fd, TCSADRAIN, &raw)) == -1) return Error::Errno("tcsetattr");
  return RawTerminal(fd, saved, raw);
}

void RawTerminal::Leave() {
  if (fd_ >= 0) SetFromAnywhere(fd_, saved_);
}

void RawTerminal::Reenter() {
  if (fd_ < 0) return;
  // The shell may have changed the mode while we were stopped: that is what we go back to.
  (void)::tcgetattr(fd_, &saved_);
  SetFromAnywhere(fd_, raw_);
}

}  // namespace msb::sys
