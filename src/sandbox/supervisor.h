// SPDX-License-Identifier: Apache-2.0
// Supervisor: one sandbox from its machine's start to its end, on one thread.
//
//   kStarting ──hello──> kRunning ──stop──> kStopping ──machine gone──> kEnded
//       └──────────────────┴── end: kill ──────┴──────────────^
//
// Whatever happens first decides the outcome; then the machine is stopped, everything is given
// back, the record says so (or is removed), the clients are told, and the process exits.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "sandbox/backend.h"
#include "sandbox/console_ring.h"
#include "sandbox/main_exec.h"
#include "sandbox/record.h"
#include "sandbox/relay.h"
#include "sandbox/start_clock.h"
#include "sys/cgroup.h"

namespace msb::sandbox {

// Everything open and running; see supervisor_setup.h.
struct SupervisorParts {
  SandboxSpec spec;
  std::optional<Record> record;
  RecordState state;
  StartClock clock;
  std::optional<sys::CgroupHost> cgroup_host;  // Where `cgroup` was made.
  std::optional<sys::Cgroup> cgroup;
  std::unique_ptr<Backend> backend;
  UniqueFd agent;      // Our end of the agent channel.
  UniqueFd console;    // Our end of the guest's console.
  UniqueFd listener;   // control.sock
  UniqueFd control;    // The first client.
  UniqueFd signals;    // SIGTERM and the like; may be invalid.
  UniqueFd root_lock;  // Keeps the root tree of a process sandbox; may be invalid.
  std::chrono::milliseconds boot_deadline{60'000};
};

class Supervisor : private Relay::Owner, private Backend::Watcher {
 public:
  static Result<std::unique_ptr<Supervisor>> Create(event::Loop& loop, SupervisorParts& parts);
  // Until the sandbox has ended and its clients know.
  Result<void> Run();

 private:
  Supervisor(event::Loop& loop, SupervisorParts parts)
      : loop_(loop), parts_(std::move(parts)), record_(*parts_.record) {}
  Result<void> Open();
  Result<void> StartMain();

  // Relay::Owner
  void OnHello(const protocol::Hello& hello, bool first) override;
  void OnGoodbye(std::string reason) override;
  void OnFault(Error fault) override;
  void OnExecStarted() override {
    exec_started_ = true;
    parts_.clock.Mark("first exec");
  }
  void OnFirstOutput() override { parts_.clock.Mark("first byte"); }
  void OnRequest(Relay::ConnectionId from, const Relay::Request& request) override;
  void OnDisconnected(Relay::ConnectionId connection) override;
  void OnFlushed() override { MaybeLeave(); }
  protocol::MachineConfig Config() override;
  // Backend::Watcher
  void OnMachineEnded(const MachineEnd& end) override;
  void OnHostStorageFull() override;
  void OnGuestChannel(bool open) override;

  void OnConnect();
  void OnConsole();
  void SendConsole(Relay::ConnectionId to);
  void OnSignal();
  void OnBootDeadline();
  void AskToStop(std::chrono::milliseconds grace);
  // The first call decides.
  void Conclude(Outcome outcome);
  Outcome Diagnose(const MachineEnd& end) const;
  std::string LastStage() const;
  void CleanUp();
  void KeepConsole();
  void Deliver();
  void MaybeFinish();
  void Finish();
  void MaybeLeave();
  void SaveState(Record::Durability durability);
  std::string RecordText();

  event::Loop& loop_;
  SupervisorParts parts_;
  Record& record_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<MainExec> main_;
  ConsoleRing console_;
  std::optional<Outcome> outcome_;
  Relay::ConnectionId first_connection_ = 0;
  std::string goodbye_;
  bool said_goodbye_ = false;
  bool exec_started_ = false;
  bool stop_asked_ = false;
  Clock::time_point stop_deadline_;  // When it was.
  std::optional<MachineEnd> machine_end_;
  bool channel_seen_ = false;    // The guest has opened its end of the agent channel.
  bool channel_closed_ = false;  // And has closed it since.
  bool console_ended_ = false;
  bool agent_ended_ = false;
  bool finished_ = false;
  bool delivered_ = false;
  event::Loop::Registration accept_watch_;
  event::Loop::Registration console_watch_;
  event::Loop::Registration signal_watch_;
  event::Loop::Timer boot_timer_;
  event::Loop::Timer timeout_timer_;
  event::Loop::Timer grace_timer_;
  event::Loop::Timer fault_timer_;
  event::Loop::Timer last_words_timer_;
  event::Loop::Timer channel_timer_;
  event::Loop::Timer leave_timer_;
};

}  // namespace msb::sandbox
