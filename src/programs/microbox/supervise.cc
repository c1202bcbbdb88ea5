// SPDX-License-Identifier: Apache-2.0
// One poll() on the init, our signals and the deadline.

#include "programs/microbox/supervise.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "base/deadline.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::microbox {
namespace {

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
constexpr int kTimedOut = 124, kBySignal = 128;

void Say(std::string_view text) { (void)sys::WriteAll(BorrowedFd::Raw(2), Cat("microbox: ", text, "\n")); }

class Wait {
 public:
  Wait(const Options& options, const Signals& signals, box::Running& running)
      : options_(options), signals_(signals), running_(running) {
    if (options.timeout) deadline_ = Deadline::After(*options.timeout);
  }

  // Until the init has ended. True when the time was over first.
  bool Run() {
    for (;;) {
      pollfd waits[] = {{running_.pidfd.get(), POLLIN, 0}, {signals_.fd().get(), POLLIN, 0}};
      int n = ::poll(waits, 2, deadline_.PollTimeout());
      if (n == -1 && errno != EINTR) box::Kill(running_);
      if (waits[1].revents != 0) Forward();
      if (waits[0].revents != 0) return timed_out_;
      if (deadline_.Passed()) TimeIsOver();
    }
  }

 private:
  void Forward() {
    signalfd_siginfo info;
    while (::read(signals_.fd().get(), &info, sizeof info) == sizeof info)
      (void)box::Signal(running_, static_cast<int>(info.ssi_signo));
  }

  void TimeIsOver() {
    if (timed_out_) {
      box::Kill(running_);
      deadline_ = Deadline::Never();
      return;
    }
    timed_out_ = true;
    (void)box::Signal(running_, SIGTERM);
    deadline_ = Deadline::After(options_.kill_after);
  }

  const Options& options_;
  const Signals& signals_;
  box::Running& running_;
  Deadline deadline_ = Deadline::Never();
  bool timed_out_ = false;
};

}  // namespace

Result<Signals> Signals::Catch() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : kForwarded) ::sigaddset(&set, signal);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) == -1) return Error::Errno("sigprocmask");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return Error::Errno("signalfd");
  return Signals(std::move(fd));
}

int Supervise(const Options& options, const Signals& signals, box::Running& running,
              Limits& limits) {
  bool timed_out = Wait(options, signals, running).Run();
  auto exit = box::Reap(running);
  bool out_of_memory = false;
  if (limits.cgroup) {
    out_of_memory = limits.cgroup->Usage().oom_kills.value_or(0) > 0;
    auto removed = limits.cgroup->Remove();
    if (!removed) Say(removed.error().message());
  }
  if (timed_out) {
    Say(Cat("timeout after ", FormatDuration(*options.timeout)));
    return kTimedOut;
  }
  if (!exit || exit->how == box::Exit::How::kKilledWithSandbox) {
    Say(out_of_memory ? "out of memory: the sandbox was killed" : "the sandbox was killed");
    return kBySignal + SIGKILL;
  }
  if (exit->how == box::Exit::How::kExited) return exit->value;
  if (out_of_memory && exit->value == SIGKILL) Say("out of memory: the command was killed");
  return kBySignal + exit->value;
}

}  // namespace msb::microbox
