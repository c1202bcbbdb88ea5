// SPDX-License-Identifier: Apache-2.0
// One poll() on the init, our signals and the deadline.

#include "programs/microbox/supervise.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "base/deadline.h"
#include "base/text.h"
#include "programs/microbox/notice.h"

namespace msb::microbox {
namespace {

constexpr int kForwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM,
                              SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
constexpr int kTimedOut = 124, kBySignal = 128;
constexpr int kDrainTimeout = 10'000;  // Milliseconds.

// Of children that were reaped, and of what they had reaped: of a sandbox, when its init was.
uint64_t ChildrensCpuNs() {
  rusage usage{};
  (void)::getrusage(RUSAGE_CHILDREN, &usage);
  auto ns = [](const timeval& time) {
    return (static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec)) *
           1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

class Wait {
 public:
  Wait(const Options& options, const Signals& signals, box::Running& running,
       const Attendants& with)
      : options_(options),
        signals_(signals),
        running_(running),
        limits_(with.limits),
        relay_(with.relay),
        network_(with.network),
        calls_(with.calls) {
    if (options.timeout) deadline_ = Deadline::After(*options.timeout);
  }

  // Until the init has ended and what was written is where it should be.
  void Run() {
    for (bool ended = false; !ended || relay_.Busy();) {
      pollfd waits[4 + Relay::kWaits] = {{ended ? -1 : running_.pidfd.get(), POLLIN, 0},
                                         {signals_.fd().get(), POLLIN, 0},
                                         {ended ? -1 : network_.fd(), POLLIN, 0},
                                         calls_.Prepare()};
      auto relayed = std::span(waits).last<Relay::kWaits>();
      relay_.Prepare(relayed);
      int n = ::poll(waits, std::size(waits),
                     ended ? kDrainTimeout : calls_.Timeout(deadline_.PollTimeout()));
      if (n == -1 && errno != EINTR) Kill();
      // Whoever reads our output has stopped, and the sandbox is gone.
      if (n == 0 && ended) return;
      if (n == -1) continue;
      if (waits[1].revents != 0) Forward();
      if (waits[2].revents != 0) network_.Move();
      calls_.Serve(waits[3]);
      if (relay_.Move(relayed)) {
        over_output_ = true;
        Kill();
      }
      ended = ended || waits[0].revents != 0;
      if (!ended && deadline_.Passed()) TimeIsOver();
    }
  }

  bool timed_out() const { return timed_out_; }
  bool over_output() const { return over_output_; }

 private:
  void Kill() {
    box::Kill(running_);
    if (limits_.cgroup) limits_.cgroup->LiftForTheEnd();
  }

  void Forward() {
    signalfd_siginfo info;
    while (::read(signals_.fd().get(), &info, sizeof info) == sizeof info) {
      // The kernel tells the terminal's foreground by itself.
      if (info.ssi_signo == SIGWINCH && running_.has_terminal)
        relay_.Resize();
      else
        (void)box::Signal(running_, static_cast<int>(info.ssi_signo));
    }
  }

  void TimeIsOver() {
    if (timed_out_) {
      Kill();
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
  Limits& limits_;
  Relay& relay_;
  Network& network_;
  Calls& calls_;
  Deadline deadline_ = Deadline::Never();
  bool timed_out_ = false, over_output_ = false;
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

Ending Supervise(const Options& options, const Signals& signals, box::Running& running,
                 const Attendants& with) {
  auto began = std::chrono::steady_clock::now();
  Limits& limits = with.limits;
  Wait wait(options, signals, running, with);
  wait.Run();
  with.relay.End();
  uint64_t before = ChildrensCpuNs();
  auto exit = box::Reap(running);
  Ending ending;
  ending.duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - began);
  bool whole = !exit || exit->how == box::Exit::How::kKilledWithJail;
  if (limits.cgroup) {
    // Who counts is asked where the answer is told, or explains the end.
    if (options.status_fd || whole || exit->how != box::Exit::How::kExited)
      ending.usage = limits.cgroup->Usage();
    else
      ending.usage.oom_kills = limits.cgroup->OomKills();
    auto removed = limits.cgroup->Remove();
    if (!removed) Say(options, removed.error());
  }
  if (!ending.usage.cpu_ns) ending.usage.cpu_ns = ChildrensCpuNs() - before;
  bool out_of_memory = ending.usage.oom_kills.value_or(0) > 0;
  auto end = [&](Ending::Kind kind, int code, std::string_view said) {
    ending.kind = kind;
    ending.code = code;
    if (!said.empty()) Say(options, LogLevel::kError, said);
    return ending;
  };
  if (wait.over_output())
    return end(
        Ending::Kind::kOutputLimit, kBySignal + SIGKILL,
        Cat("more output than ", FormatSize(*options.output_limit), ": the sandbox was killed"));
  if (wait.timed_out())
    return end(Ending::Kind::kTimeout, kTimedOut,
               Cat("timeout after ", FormatDuration(*options.timeout)));
  ending.signal = whole ? SIGKILL : exit->value;
  if (whole)
    return end(out_of_memory ? Ending::Kind::kOutOfMemory : Ending::Kind::kKilled,
               kBySignal + SIGKILL,
               out_of_memory ? "out of memory: the sandbox was killed" : "the sandbox was killed");
  if (exit->how == box::Exit::How::kExited) {
    ending.signal = 0;
    if (out_of_memory)
      Say(options, LogLevel::kWarn, "out of memory: processes of the command were killed");
    return end(Ending::Kind::kExited, exit->value, "");
  }
  if (out_of_memory && exit->value == SIGKILL)
    return end(Ending::Kind::kOutOfMemory, kBySignal + SIGKILL,
               "out of memory: the command was killed");
  return end(Ending::Kind::kSignaled, kBySignal + exit->value, "");
}

}  // namespace msb::microbox
