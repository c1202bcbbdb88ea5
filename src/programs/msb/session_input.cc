// SPDX-License-Identifier: Apache-2.0
// What goes towards the guest: stdin within its credit, signals, the terminal's size.

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

#include "programs/msb/program_spec.h"
#include "programs/msb/session.h"
#include "protocol/frame.h"
#include "sys/file.h"

namespace msb::cli {

void Session::OnStdinRoom(uint32_t) {
  if (stdin_) stdin_->Consumed(client_->StdinConsumed(exec_));
  // Not before the start is known: what a program that cannot run was sent is lost.
  if (end_.started) PumpStdin();
}

void Session::OnStdinGone(uint32_t) { EndStdin(); }

void Session::PumpStdin() {
  std::array<std::byte, protocol::kMaxBody> buffer;  // One frame a read.
  while (stdin_open_ && client_ && !program_over_) {
    size_t room = client_->StdinRoom(exec_);
    if (room == 0) return WatchStdin(false);
    auto piece = stdin_->Read(std::span(buffer).first(std::min(room, buffer.size())));
    if (!piece) {
      (void)Fail(std::move(piece).error().Context("read stdin"), options_.format, 0);
      piece = StdinSource::Piece{0, true};
    }
    if (piece->bytes > 0) client_->WriteStdin(exec_, std::span(buffer).first(piece->bytes));
    if (piece->end) {
      client_->CloseStdin(exec_);
      stdin_open_ = false;
      return WatchStdin(false);
    }
    if (piece->bytes == 0) return WatchStdin(true);
  }
}

// A watch that is off is no watch at all: a hang-up would be reported to it again and again.
void Session::WatchStdin(bool on) {
  if (std::exchange(stdin_watched_, on) == on) return;
  if (!on) return stdin_watch_.Cancel();
  auto fd = stdin_->wait_fd();
  if (!fd) return;
  auto watch = loop_->Watch(*fd, event::Interest::kRead, [this](event::Ready) {
    stdin_->OnReadable();
    PumpStdin();
  });
  if (watch) stdin_watch_ = *std::move(watch);
}

void Session::EndStdin() {
  stdin_open_ = false;
  if (!stdin_) return;
  WatchStdin(false);
  stdin_->Finish();
}

void Session::OnSignals() {
  struct signalfd_siginfo info;
  while (true) {
    auto count = sys::ReadSome(signals_, std::as_writable_bytes(std::span(&info, 1)));
    if (!count || *count != sizeof info) return;
    OnSignal(static_cast<int>(info.ssi_signo));
  }
}

void Session::OnSignal(int number) {
  switch (number) {
    case SIGWINCH:
      return SendSize();
    case SIGTSTP:
      return SuspendSelf();
    case SIGCONT:
      if (raw_) raw_->Reenter();
      return SendSize();
    case SIGINT:
      return OnInterrupt();
    case SIGXCPU:
    case SIGXFSZ:
    case SIGALRM:
    case SIGVTALRM:
    case SIGPROF:
    case SIGIO:
    case SIGPWR:
      // Meant for us, not for the program, which our end hangs up.
      end_.interrupted_by = number;
      raw_.reset();
      abandoned_ = true;
      return;
    default:
      if (program_over_) return;
      if (!end_.started) {
        if (number != SIGUSR1 && number != SIGUSR2) StopBeforeStart(number);
        return;
      }
      client_->Signal(exec_, number);
  }
}

void Session::OnInterrupt() {
  interrupts_++;
  if (!end_.started && !program_over_) return StopBeforeStart(SIGINT);
  if (interrupts_ < 3) {
    if (!program_over_) client_->Signal(exec_, SIGINT);
    return;
  }
  if (options_.role == Role::kOwner && !closed_)
    client_->KillMachine();
  else if (!program_over_)
    client_->Kill(exec_);
  // A program that has ended, or would not even now, leaves our own output to wait for: no more.
  if (program_over_ || interrupts_ > 3) abandoned_ = true;
}

void Session::StopBeforeStart(int number) {
  end_.interrupted_by = number;
  ProgramEnded();
}

void Session::SuspendSelf() {
  if (raw_) raw_->Leave();
  ::kill(::getpid(), SIGSTOP);
  // Here again after SIGCONT, which the loop sees as well.
}

void Session::SendSize() {
  if (!options_.exec.terminal || program_over_ || !client_) return;
  if (auto size = CallersTerminalSize()) client_->Resize(exec_, *size);
}

}  // namespace msb::cli
