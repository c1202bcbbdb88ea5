// SPDX-License-Identifier: Apache-2.0
// Session: one program in a guest, joined to our stdin, stdout, stderr and signals, from its start
// to its end.
//
//   starting --OnStarted--> running --OnExit--> draining --(owner: OnOutcome)--> done
//       |  signal: stop            | signals are forwarded; the third Ctrl-C kills
//
// The owner of an attached sandbox ends the machine when the program has ended and waits until
// everything of it is gone; a guest (`msb exec`) leaves when the output is out.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "event/loop.h"
#include "programs/msb/output_sink.h"
#include "programs/msb/stdin_source.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"
#include "sys/terminal.h"

namespace msb::cli {

enum class Role : uint8_t { kOwner, kGuest };

struct SessionOptions {
  protocol::ExecSpec exec;
  Role role = Role::kGuest;
  bool quiet = false;
  Format format = Format::kText;
  std::string waiting_text;  // Shown on a terminal while a start takes over a second.
};

struct SessionEnd {
  std::optional<protocol::ExecExit> exit;      // The program ended.
  std::optional<protocol::ExecFailed> failed;  // It never ran.
  std::optional<sandbox::Outcome> outcome;     // The sandbox ended first.
  std::optional<Error> error;                  // It was refused, or our own side failed.
  std::optional<Error> output_lost;            // Our stdout or stderr took no more.
  bool supervisor_gone = false;
  bool hello_seen = false;
  int interrupted_by = 0;   // A signal before the start, or a broken pipe (SIGPIPE).
  std::string record_json;  // The last one seen.
  std::optional<Clock::time_point> ready, started, first_output, exited, ended;
};

class Session : private sandbox::Client::Listener {
 public:
  // The error is of our own side: epoll, signalfd, terminal.
  static Result<SessionEnd> Run(UniqueFd socket, const SessionOptions& options);
  ~Session() override;

 private:
  explicit Session(const SessionOptions& options) : options_(options) {}
  Result<void> SetUp(UniqueFd socket);
  Result<void> Loop();

  void OnReady(const std::string& record_json) override;
  void OnStarted(uint32_t exec, uint32_t guest_pid) override;
  void OnFailed(uint32_t exec, const protocol::ExecFailed& failed) override;
  void OnOutput(uint32_t exec, int fd, std::span<const std::byte> bytes) override;
  void OnExit(uint32_t exec, const protocol::ExecExit& exit) override;
  void OnStdinRoom(uint32_t exec) override;
  void OnStdinGone(uint32_t exec) override;
  void OnOutcome(const sandbox::Outcome& outcome, const std::string& record_json) override;
  void OnError(uint32_t exec, Error error) override;
  void OnClosed() override;

  void PumpStdin();
  void WatchStdin(bool on);
  void EndStdin();
  void OnSignals();
  void OnSignal(int number);
  void OnInterrupt();
  void StopBeforeStart(int number);
  void SuspendSelf();
  void SendSize();
  void OnBroken(Error error);
  void ProgramEnded();
  bool Done() const;

  SessionOptions options_;
  SessionEnd end_;
  std::unique_ptr<event::Loop> loop_;
  std::unique_ptr<OutputSink> out_, err_;
  std::unique_ptr<StdinSource> stdin_;
  event::Loop::Registration stdin_watch_;
  bool stdin_watched_ = false;
  bool stdin_open_ = false;
  UniqueFd signals_;
  event::Loop::Registration signal_watch_;
  event::Loop::Timer progress_timer_;
  std::optional<sys::RawTerminal> raw_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<sandbox::Client> client_;
  uint32_t exec_ = 0;
  int interrupts_ = 0;
  bool program_over_ = false;  // Exit, failure or refusal has arrived.
  bool closed_ = false;
  bool abandoned_ = false;  // Our own output is not waited for any more.
};

// The exit code that tells what happened, as the documentation lists them.
int ExitCode(const SessionEnd& end);
// What stderr says of it, beyond the program's own output; nullopt: nothing.
std::optional<Error> Explain(const SessionEnd& end);

}  // namespace msb::cli
