// SPDX-License-Identifier: Apache-2.0
// SIGCHLD by signalfd, then wait4() until nobody is left.

#include "agent/reaper.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sys/process.h"

namespace msb::agent {
namespace {

constexpr int kRound = 256;

}  // namespace

Result<std::unique_ptr<Reaper>> Reaper::Create(event::Loop& loop, OnExit on_exit,
                                               std::function<void()> after) {
  std::array<int, 1> signals = {SIGCHLD};
  auto fd = TRY(sys::SignalFd(signals));
  std::unique_ptr<Reaper> reaper(
      new Reaper(loop, std::move(fd), std::move(on_exit), std::move(after)));
  auto* self = reaper.get();
  reaper->watch_ = TRY(
      loop.Watch(reaper->signals_, event::Interest::kRead, [self](event::Ready) { self->Reap(); }));
  return reaper;
}

void Reaper::Reap() {
  // Signals of one number merge, so one record says "some have ended".
  signalfd_siginfo info;
  [[maybe_unused]] ssize_t n = ::read(signals_.get(), &info, sizeof info);
  int status = 0;
  struct rusage usage;
  // Processes may end faster than they are reaped; frames must not wait for the last of them.
  int round = 0;
  for (; round < kRound; round++) {
    pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid <= 0) break;
    on_exit_(pid, status, usage);
  }
  if (round == kRound) again_ = loop_.After({}, [this] { Reap(); });
  after_();
}

}  // namespace msb::agent
