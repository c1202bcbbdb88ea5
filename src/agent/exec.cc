// SPDX-License-Identifier: Apache-2.0
// The life of an exec: start, signals, exit. exec_streams.cc has its bytes.

#include "agent/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "agent/link.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

using protocol::ExitKind;
using protocol::FailReason;

// What a terminal's buffers hold at most: the flip buffers and the line discipline's own.
constexpr uint64_t kTerminalBacklog = 128 * 1024;

Result<UniqueFd> OpenNull() { return sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR | O_NOCTTY); }

}  // namespace

Exec::~Exec() {
  if (group_ != nullptr) host_.groups().GiveBack(std::move(group_));
}

void Exec::Refuse(FailReason reason, int error, std::string message) {
  failed_ = protocol::ExecFailed{.reason = reason, .error = error, .message = std::move(message)};
  host_.Ready(id_, false);
}

void Exec::Open(const protocol::ExecSpec& spec) {
  auto identity = host_.FindIdentity(spec.user);
  if (!identity.ok()) return Refuse(FailReason::kUnknownUser, 0, identity.error().message());
  auto group = host_.groups().Take();
  if (!group.ok())
    return Refuse(FailReason::kResources, group.error().sys_errno(), group.error().message());
  group_ = *std::move(group);
  auto ends = spec.terminal ? MakeTerminal(spec, *identity) : MakePipes(spec);
  if (!ends.ok())
    return Refuse(FailReason::kResources, ends.error().sys_errno(), ends.error().message());
  Run(spec, *std::move(identity), *std::move(ends));
}

Result<Exec::ChildEnds> Exec::MakePipes(const protocol::ExecSpec& spec) {
  ChildEnds ends;
  if (spec.stdin_open) {
    auto pipe = TRY(sys::MakePipe());
    TRY(sys::SetNonBlocking(pipe.write, true));
    // One page: such a pipe is full while any byte is unread, so that its being writable says that
    // the process has read everything. It grows for a process that reads a lot: EnlargeInput().
    if (::fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096) == -1)
      return Error::Errno("fcntl F_SETPIPE_SZ");
    input_.fd = std::move(pipe.write);
    input_.used = true;
    ends.in = std::move(pipe.read);
  } else {
    ends.in = TRY(OpenNull());
  }
  std::array<UniqueFd*, 2> child = {&ends.out, &ends.err};
  for (size_t i = 0; i < 2; ++i) {
    auto pipe = TRY(sys::MakePipe());
    TRY(sys::SetNonBlocking(pipe.read, true));
    outputs_[i].fd = std::move(pipe.read);
    outputs_[i].used = true;
    *child[i] = std::move(pipe.write);
  }
  return ends;
}

Result<Exec::ChildEnds> Exec::MakeTerminal(const protocol::ExecSpec& spec,
                                           const Identity& identity) {
  terminal_ = true;
  auto master = TRY(sys::OpenAt(sys::Cwd(), "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
  int unlock = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlock) == -1) return Error::Errno("ioctl TIOCSPTLCK");
  // Not by its path, which is the image's business.
  UniqueFd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) return Error::Errno("ioctl TIOCGPTPEER");
  winsize size{
      .ws_row = spec.size.rows, .ws_col = spec.size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  if (::ioctl(master.get(), TIOCSWINSZ, &size) == -1) return Error::Errno("ioctl TIOCSWINSZ");
  // A shell of that user opens /dev/tty and its own terminal by name. Without privilege (tests) it
  // is ours already.
  [[maybe_unused]] int mine = ::fchown(slave.get(), identity.uid, static_cast<gid_t>(-1));

  ChildEnds ends;
  ends.in = TRY(sys::Duplicate(slave));
  ends.out = TRY(sys::Duplicate(slave));
  ends.err = TRY(sys::Duplicate(slave));
  if (spec.stdin_open) {
    input_.fd = TRY(sys::Duplicate(master));
    input_.used = true;
  }
  outputs_[0].fd = std::move(master);
  outputs_[0].used = true;
  terminal_slave_ = std::move(slave);
  return ends;
}

void Exec::Run(const protocol::ExecSpec& spec, Identity identity, ChildEnds ends) {
  SpawnPlan plan = MakePlan(spec, std::move(identity));
  plan.stdio = {ends.in.get(), ends.out.get(), ends.err.get()};
  plan.cgroup_fd = group_->clone_fd();
  spawned_at_ = Clock::now();
  Spawned spawned = host_.spawner().Spawn(plan);
  if (spawned.pid < 0) {
    for (auto& output : outputs_) output = Output();
    input_ = Input();
    terminal_slave_.Reset();
    auto failed = Describe(spawned, plan);
    return Refuse(failed.reason, failed.error, std::move(failed.message));
  }
  pid_ = spawned.pid;
  shown_pid_ = static_cast<uint32_t>(pid_);
  for (auto& output : outputs_)
    if (output.used) Watch(output);
  // The news that it runs can wait for the first output or the end of a short-lived one, unless
  // the host waits for its credit.
  host_.Ready(id_, !input_.used);
}

void Exec::OnReaped(int wait_status, const struct rusage& usage) {
  auto now = Clock::now();
  GroupUsage used = group_->Usage(usage);
  protocol::ExecExit exit;
  if (WIFSIGNALED(wait_status)) {
    exit.kind = ExitKind::kSignaled;
    exit.code = WTERMSIG(wait_status);
  } else {
    exit.code = WEXITSTATUS(wait_status);
  }
  // A shell whose child was killed says 137 itself: the same end, so the same name for it.
  bool killed =
      exit.kind == ExitKind::kSignaled ? exit.code == SIGKILL : exit.code == 128 + SIGKILL;
  if (killed && used.oom_kills > 0) {
    exit.kind = ExitKind::kOutOfMemory;
    exit.code = SIGKILL;
  }
  exit.spawn_to_exit_ns = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - spawned_at_).count());
  exit.cpu_user_ns = used.cpu_user_ns;
  exit.cpu_system_ns = used.cpu_system_ns;
  exit.peak_memory_bytes = used.peak_memory_bytes;
  exit_ = exit;
  pid_ = 0;
  terminal_slave_.Reset();
  CountRead();
  CloseInput();
  input_.refused = true;
  for (auto& output : outputs_)
    if (output.used) DrainAtExit(output);
  host_.Ready(id_, false);
}

void Exec::DrainAtExit(Output& output) {
  if (!output.fd || output.discard) return;
  int in_pipe = 0;
  // All of a terminal's output is read until its buffers are empty, a pipe's as much as it holds.
  if (terminal_)
    output.rest = kTerminalBacklog;
  else
    output.rest = ::ioctl(output.fd.get(), FIONREAD, &in_pipe) == 0 && in_pipe > 0
                      ? static_cast<uint64_t>(in_pipe)
                      : 0;
  if (*output.rest == 0) FinishOutput(output);
  ReadOutput(output);
}

void Exec::Signal(int signal) {
  if (pid_ <= 0) return;
  // The session leader's group, unless the terminal has another in front.
  pid_t group = pid_;
  if (terminal_ && outputs_[0].fd) {
    pid_t front = 0;
    if (::ioctl(outputs_[0].fd.get(), TIOCGPGRP, &front) == 0 && front > 0) group = front;
  }
  ::kill(-group, signal);
}

void Exec::Resize(const protocol::TerminalSize& size) {
  if (!terminal_ || !outputs_[0].fd) return;
  winsize window{.ws_row = size.rows, .ws_col = size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(outputs_[0].fd.get(), TIOCSWINSZ, &window);
}

void Exec::Kill() {
  if (group_ != nullptr && !failed_) group_->Kill(pid_);
}

void Exec::Hangup() {
  for (auto& output : outputs_) Discard(output);
  if (pid_ > 0) {
    Signal(SIGHUP);
    ::kill(-pid_, SIGHUP);
    // A stopped job would never see it.
    ::kill(-pid_, SIGCONT);
  }
  if (!terminal_) CloseInput();
  host_.Ready(id_, false);
}

void Exec::RepeatAnswer() {
  started_sent_ = false;
  end_sent_ = false;
}

void Exec::Rewind() {
  RepeatAnswer();
  for (auto& output : outputs_) output.stream.Rewind();
  input_.stream.Rewind();
  input_.credited = 0;
  input_.reset_due = input_.refused;
}

std::vector<UniqueFd> Exec::TakeDrains() {
  std::vector<UniqueFd> fds;
  for (auto& output : outputs_) {
    output.watch.Cancel();
    if (output.fd) fds.push_back(std::move(output.fd));
  }
  return fds;
}

}  // namespace msb::agent
