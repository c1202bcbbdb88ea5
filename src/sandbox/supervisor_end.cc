// SPDX-License-Identifier: Apache-2.0
// The end of a sandbox: what it was, giving everything back, telling the clients.

#include <time.h>

#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "base/text.h"
#include "protocol/frame.h"
#include "sandbox/outcome_json.h"
#include "sandbox/supervisor.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

// How long an ended supervisor waits for clients that do not read.
constexpr auto kLeaveGrace = std::chrono::seconds(1);
constexpr auto kReopenGrace = std::chrono::milliseconds(500);
constexpr auto kLastWords = std::chrono::milliseconds(200);
constexpr auto kStopRoom = size_t{256};  // Of a frame, for the outcome beside the record.

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void Complain(const char* what, const Result<void>& result) {
  if (!result) LOG(kWarn, "left behind", {"what", what}, {"why", result.error().message()});
}

}  // namespace

void Supervisor::Conclude(Outcome outcome) {
  if (outcome_) return;
  outcome_ = std::move(outcome);
  parts_.state.state = State::kStopping;
  relay_->Close(Error(Code::kFailedPrecondition, "the sandbox is ending"));
  boot_timer_.Cancel();
  timeout_timer_.Cancel();
  grace_timer_.Cancel();
  fault_timer_.Cancel();
  if (machine_end_) return;
  parts_.backend->Stop();
  if (parts_.cgroup) parts_.cgroup->LiftForTheEnd();
}

void Supervisor::OnHostStorageFull() {
  Conclude({.kind = OutcomeKind::kHostStorageFull,
            .detail = "the host has no space left for the sandbox's disk"});
}

// A kernel that halts resets the channel's device and then idles for ever: without ACPI it cannot
// power off. The console tells nothing of it: its device is reset too before the kernel says so,
// and any command may write what a kernel would. An agent that lost the thread closes and opens the
// channel again.
void Supervisor::OnGuestChannel(bool open) {
  channel_seen_ = channel_seen_ || open;
  channel_closed_ = !open;
  channel_timer_.Cancel();
  if (open || !relay_->hello_received() || outcome_) return;
  channel_timer_ = loop_.After(kReopenGrace, [this] {
    Conclude(stop_asked_ ? Outcome{.kind = OutcomeKind::kStopped, .detail = "stopped on request"}
                         : Diagnose({.detail = "the guest halted itself", .by_guest = true}));
  });
}

void Supervisor::OnMachineEnded(const MachineEnd& end) {
  machine_end_ = end;
  // What the guest said last is still in the sockets: its goodbye, and a panic on the console. Both
  // end now; the timer is for a console that somebody else holds open.
  last_words_timer_ = loop_.After(kLastWords, [this] { Finish(); });
  MaybeFinish();
}

void Supervisor::MaybeFinish() {
  if (!machine_end_ || finished_) return;
  if (outcome_ || (console_ended_ && agent_ended_)) Finish();
}

void Supervisor::Finish() {
  if (std::exchange(finished_, true)) return;
  last_words_timer_.Cancel();
  if (!outcome_) Conclude(Diagnose(*machine_end_));
  CleanUp();
  Deliver();
}

Outcome Supervisor::Diagnose(const MachineEnd& end) const {
  if (stop_asked_) return {.kind = OutcomeKind::kStopped, .detail = "stopped on request"};
  std::string why = end.detail;
  // A panic resets the machine, and its devices not before: one that was killed, or met an error of
  // KVM, has its own reason, and a kernel that was asked to end has closed the channel. Where the
  // machine's own end is still to come nothing is known but the console.
  bool may_have_panicked = (end.by_guest || !machine_end_) && !channel_closed_;
  auto killed_for_memory = [&] {
    return !end.by_guest && parts_.cgroup && parts_.cgroup->Usage().oom_kills.value_or(0) > 0;
  };
  if (said_goodbye_) {
    why = Cat("the guest powered itself off: ", goodbye_);
  } else if (killed_for_memory()) {
    why = "the machine used more memory of the host than its cgroup allows";
  } else if (auto panic = console_.PanicLine(); panic && may_have_panicked) {
    why = Cat("guest kernel: ", *panic);
  }
  // The agent says hello before the root is whole: a guest that gives up before the first command
  // has not started either.
  if (!relay_->hello_received() || (said_goodbye_ && !exec_started_))
    return {.kind = OutcomeKind::kBootFailed, .detail = Cat(why, "; ", LastStage())};
  return {.kind = OutcomeKind::kMachineDied, .detail = std::move(why)};
}

// In reverse order of the making. What fails here is left for gc.
void Supervisor::CleanUp() {
  main_.reset();
  parts_.backend->Cleanup();
  // Who sees the record end finds the tree free.
  parts_.root_lock.Reset();
  bool cgroup_gone = true;
  if (parts_.cgroup) {
    auto removed = parts_.cgroup->Remove();
    cgroup_gone = removed.ok();
    Complain("cgroup", removed);
  }
  accept_watch_.Cancel();
  console_watch_.Cancel();
  parts_.state.state = State::kEnded;
  parts_.state.ended_unix_ns = RealtimeNs();
  parts_.state.outcome = outcome_;
  // The record says where a cgroup is that is still there: gc removes both.
  if (parts_.spec.lifetime == Lifetime::kAttached && cgroup_gone) {
    Complain("record", record_.Remove());
    return;
  }
  KeepConsole();
  Complain("control socket", sys::UnlinkAt(record_.dir(), kControlSocket));
  SaveState(Record::Durability::kSynced);
}

void Supervisor::KeepConsole() {
  Complain("console.log", sys::ReplaceFileAt(record_.dir(), "console.log", console_.Content()));
}

void Supervisor::SaveState(Record::Durability durability) {
  parts_.state.start = parts_.clock.steps();
  auto saved = record_.WriteState(parts_.state, durability);
  if (!saved) LOG(kWarn, "state not written", {"why", saved.error().message()});
}

// Fits a frame: the spec, which may be long, is then left to the record on disk.
std::string Supervisor::RecordText() {
  parts_.state.start = parts_.clock.steps();
  std::string text = RecordJson(record_.id(), parts_.spec, record_.spec_json(), parts_.state);
  if (text.size() + kStopRoom <= protocol::kMaxBody) return text;
  return RecordJson(record_.id(), parts_.spec, "", parts_.state);
}

void Supervisor::Deliver() {
  delivered_ = true;
  std::string message = ToJson(*outcome_, RecordText());
  if (message.size() > protocol::kMaxBody) message = ToJson(*outcome_, "null");
  relay_->SendToAll(protocol::Type::kOutcome, AsBytes(message));
  leave_timer_ = loop_.After(kLeaveGrace, [this] { loop_.Stop(); });
  MaybeLeave();
}

// What is written to a socket stays readable after our end of it is closed.
void Supervisor::MaybeLeave() {
  if (delivered_ && relay_->Flushed()) loop_.Stop();
}

}  // namespace msb::sandbox
