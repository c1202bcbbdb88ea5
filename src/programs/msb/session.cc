// SPDX-License-Identifier: Apache-2.0
// The session's life: set-up, what the supervisor says, the end. Input and signals are in
// session_input.cc.

#include "programs/msb/session.h"

#include <signal.h>
#include <unistd.h>

#include <array>

#include "base/text.h"
#include "programs/msb/record_view.h"
#include "sys/process.h"

namespace msb::cli {

Session::~Session() {
  if (stdin_) stdin_->Finish();
}

Result<SessionEnd> Session::Run(UniqueFd socket, const SessionOptions& options) {
  Session session(options);
  TRY(session.SetUp(std::move(socket)));
  TRY(session.Loop());
  session.EndStdin();
  return std::move(session.end_);
}

Result<void> Session::SetUp(UniqueFd socket) {
  loop_ = TRY(event::Loop::Create());
  auto sink = [this](int fd) {
    return std::make_unique<OutputSink>(
        *loop_, fd,
        [this, fd](size_t bytes) {
          if (!end_.first_output) end_.first_output = Clock::now();
          if (client_) client_->Consumed(exec_, fd, bytes);
        },
        [this](Error error) { OnBroken(std::move(error)); });
  };
  out_ = sink(1);
  err_ = sink(2);
  bool own_terminal = options_.exec.terminal && IsTerminal(0);
  if (options_.exec.stdin_open) {
    stdin_ = TRY(StdinSource::Create(BorrowedFd::Raw(0)));
    stdin_open_ = true;
  }
  std::vector<int> signals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
  if (options_.exec.terminal) signals.push_back(SIGWINCH);
  if (own_terminal) {
    signals.insert(signals.end(), {SIGTSTP, SIGCONT});
    // By default these end us at once, and the terminal would stay raw.
    signals.insert(signals.end(), {SIGXCPU, SIGXFSZ, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR});
  }
  signals_ = TRY(sys::SignalFd(signals));
  signal_watch_ =
      TRY(loop_->Watch(signals_, event::Interest::kRead, [this](event::Ready) { OnSignals(); }));
  client_ = TRY(sandbox::Client::Create(*loop_, std::move(socket), *this));
  exec_ = client_->OpenExec(options_.exec);
  if (!options_.quiet && options_.format == Format::kText && !options_.waiting_text.empty()) {
    progress_ = std::make_unique<Progress>(true);
    progress_timer_ =
        loop_->After(std::chrono::seconds(1), [this] { progress_->Show(options_.waiting_text); });
  }
  return {};
}

Result<void> Session::Loop() {
  while (!Done()) TRY(loop_->RunOnce(Deadline::Never()));
  end_.ended = Clock::now();
  return {};
}

bool Session::Done() const {
  if (abandoned_) return true;
  if (closed_) return out_->drained() && err_->drained();
  if (!program_over_) return false;
  if (options_.role == Role::kOwner) return false;  // Until the sandbox is gone: OnClosed.
  return out_->drained() && err_->drained();
}

void Session::OnReady(const std::string& record_json) {
  end_.hello_seen = true;
  end_.ready = Clock::now();
  end_.record_json = record_json;
  if (options_.quiet || options_.role != Role::kOwner) return;
  std::string note = LimitsNote(ViewRecord(record_json));
  if (note.empty()) return;
  if (progress_) progress_->Clear();
  Notice(note, options_.format);
}

void Session::OnStarted(uint32_t, uint32_t) {
  end_.hello_seen = true;
  end_.started = Clock::now();
  progress_timer_.Cancel();
  progress_.reset();
  if (options_.exec.terminal && IsTerminal(0)) {
    auto raw = sys::RawTerminal::Enter(0);
    if (raw)
      raw_.emplace(*std::move(raw));
    else if (!end_.error)
      end_.error = std::move(raw).error();
  }
  // It may have changed while the machine started.
  if (options_.exec.terminal) SendSize();
  PumpStdin();
}

void Session::OnFailed(uint32_t, const protocol::ExecFailed& failed) {
  end_.hello_seen = true;
  end_.failed = failed;
  ProgramEnded();
}

void Session::OnOutput(uint32_t, int fd, std::span<const std::byte> bytes) {
  // A terminal has one stream; whatever is not stdout is for stderr.
  (fd == 1 ? out_ : err_)->Write(bytes);
}

void Session::OnExit(uint32_t, const protocol::ExecExit& exit) {
  end_.exited = Clock::now();
  end_.exit = exit;
  ProgramEnded();
}

void Session::ProgramEnded() {
  program_over_ = true;
  progress_timer_.Cancel();
  progress_.reset();
  EndStdin();
  // The shell's prompt must not wait for the machine.
  raw_.reset();
  // Whatever still runs in there goes with it, and what it wrote is thrown away: no grace.
  if (options_.role == Role::kOwner) client_->KillMachine();
}

void Session::OnOutcome(const sandbox::Outcome& outcome, const std::string& record_json) {
  end_.outcome = outcome;
  end_.record_json = record_json;
}

void Session::OnError(uint32_t, Error error) {
  if (!end_.error) end_.error = std::move(error);
  ProgramEnded();
}

void Session::OnClosed() {
  closed_ = true;
  EndStdin();
  raw_.reset();
  progress_.reset();
  progress_timer_.Cancel();
  if (!end_.outcome && !end_.error && !end_.output_lost &&
      !(program_over_ && options_.role == Role::kGuest))
    end_.supervisor_gone = true;
}

void Session::OnBroken(Error error) {
  // A reader that has gone is no error of ours: we end as `yes | head` does.
  if (error.sys_errno() == EPIPE || error.sys_errno() == ENXIO || error.sys_errno() == EIO)
    end_.interrupted_by = SIGPIPE;
  else if (!end_.output_lost)
    end_.output_lost = std::move(error).Context("write the program's output");
  if (program_over_ || client_ == nullptr) return;
  client_->Signal(exec_, SIGHUP);
  if (options_.role == Role::kOwner) {
    client_->Stop(std::chrono::seconds(2));
  } else {
    program_over_ = true;  // Leaving hangs up.
  }
}

}  // namespace msb::cli
