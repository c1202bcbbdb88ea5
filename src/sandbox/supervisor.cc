// SPDX-License-Identifier: Apache-2.0
// The life of a sandbox: see the header.

#include "sandbox/supervisor.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "sandbox/outcome_json.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

// Between the end of the agent channel and the news of the machine's own end.
constexpr auto kChannelGrace = std::chrono::seconds(3);
constexpr size_t kEntropyBytes = 32;

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::Create(event::Loop& loop, SupervisorParts& parts) {
  std::unique_ptr<Supervisor> made(new Supervisor(loop, std::move(parts)));
  auto opened = made->Open();
  if (opened) return made;
  // The caller undoes what it made.
  parts = std::move(made->parts_);
  return std::move(opened).error();
}

Result<void> Supervisor::Open() {
  relay_ = TRY(Relay::Create(loop_, std::move(parts_.agent), *this));
  TRY(parts_.backend->Watch(loop_, *this));
  TRY(sys::SetNonBlocking(parts_.console, true));
  console_watch_ = TRY(
      loop_.Watch(parts_.console, event::Interest::kRead, [this](event::Ready) { OnConsole(); }));
  accept_watch_ = TRY(
      loop_.Watch(parts_.listener, event::Interest::kRead, [this](event::Ready) { OnConnect(); }));
  if (parts_.signals)
    signal_watch_ = TRY(
        loop_.Watch(parts_.signals, event::Interest::kRead, [this](event::Ready) { OnSignal(); }));
  boot_timer_ = loop_.After(parts_.boot_deadline, [this] { OnBootDeadline(); });
  if (parts_.spec.timeout)
    timeout_timer_ = loop_.After(*parts_.spec.timeout, [this] {
      Conclude({.kind = OutcomeKind::kTimeout,
                .detail = Cat("the time of --timeout ", FormatDuration(*parts_.spec.timeout),
                              " has passed")});
    });
  first_connection_ = TRY(relay_->AddConnection(std::move(parts_.control)));
  if (parts_.spec.main) TRY(StartMain());
  SaveState(Record::Durability::kNone);
  return {};
}

Result<void> Supervisor::StartMain() {
  auto pair = TRY(sys::MakeSocketPair());
  TRY(relay_->AddConnection(std::move(pair.first)));
  main_ = TRY(MainExec::Start(loop_, std::move(pair.second), record_.dir(), *parts_.spec.main,
                              [this](Outcome outcome) { Conclude(std::move(outcome)); }));
  return {};
}

Result<void> Supervisor::Run() { return loop_.Run(); }

// Clients.

void Supervisor::OnConnect() {
  auto accepted = sys::Accept(parts_.listener);
  if (!accepted) {
    LOG(kWarn, "control socket", {"why", accepted.error().message()});
    return;
  }
  if (!accepted->has_value() || delivered_) return;
  UniqueFd socket = std::move(**accepted);
  auto peer = sys::GetPeer(socket);
  // The directory's mode says the same; a descriptor of it may have been handed on.
  if (!peer || (peer->uid != ::geteuid() && peer->uid != 0)) return;
  auto connection = relay_->AddConnection(std::move(socket));
  if (!connection) {
    LOG(kWarn, "control connection", {"why", connection.error().message()});
    return;
  }
  if (relay_->hello_received())
    relay_->SendTo(*connection, protocol::Type::kReady, AsBytes(RecordText()));
}

void Supervisor::OnDisconnected(Relay::ConnectionId connection) {
  if (connection == first_connection_ && parts_.spec.lifetime == Lifetime::kAttached)
    Conclude({.kind = OutcomeKind::kStopped, .detail = "its client has ended"});
  MaybeLeave();
}

void Supervisor::OnRequest(Relay::ConnectionId from, const Relay::Request& request) {
  switch (request.what) {
    case Relay::Request::What::kStatus:
      relay_->SendTo(from, protocol::Type::kStatus, AsBytes(RecordText()));
      return;
    case Relay::Request::What::kConsole:
      return SendConsole(from);
    case Relay::Request::What::kStop:
      AskToStop(std::chrono::milliseconds(request.grace_ms));
      return;
    case Relay::Request::What::kKill:
      Conclude({.kind = OutcomeKind::kStopped, .detail = "killed on request"});
      return;
  }
}

void Supervisor::SendConsole(Relay::ConnectionId to) {
  std::string content = console_.Content();
  for (size_t at = 0; at < content.size(); at += protocol::kMaxBody)
    relay_->SendTo(to, protocol::Type::kConsole,
                   AsBytes(std::string_view(content).substr(at, protocol::kMaxBody)));
  relay_->SendTo(to, protocol::Type::kConsole, {});
}

void Supervisor::OnSignal() {
  std::array<std::byte, 1024> buffer;
  if (!sys::ReadSome(parts_.signals, buffer)) return;
  Conclude({.kind = OutcomeKind::kStopped, .detail = "the supervisor was asked to end"});
}

void Supervisor::AskToStop(std::chrono::milliseconds grace) {
  if (outcome_) return;
  if (!relay_->hello_received() || grace.count() == 0) {
    Conclude({.kind = OutcomeKind::kStopped, .detail = "stopped on request"});
    return;
  }
  // Who asks again may be in more of a hurry, and never in less.
  auto deadline = Clock::now() + grace;
  if (stop_asked_ && deadline >= stop_deadline_) return;
  stop_deadline_ = deadline;
  grace_timer_ = loop_.After(grace, [this, grace] {
    Conclude({.kind = OutcomeKind::kStopped,
              .detail = Cat("killed: it did not stop within ", FormatDuration(grace))});
  });
  if (std::exchange(stop_asked_, true)) return;
  parts_.state.state = State::kStopping;
  relay_->Close(Error(Code::kFailedPrecondition, "the sandbox is stopping"));
  relay_->ShutDownGuest();
  SaveState(Record::Durability::kNone);
}

// The guest.

protocol::MachineConfig Supervisor::Config() {
  protocol::MachineConfig config;
  config.hostname = HostnameOf(parts_.spec, record_.id());
  config.realtime_ns = RealtimeNs();
  config.entropy.resize(kEntropyBytes);
  sys::FillRandom(std::as_writable_bytes(std::span(config.entropy)));
  return config;
}

void Supervisor::OnHello(const protocol::Hello& hello, bool first) {
  if (!first || outcome_) return;
  boot_timer_.Cancel();
  parts_.clock.AddGuestStages(hello.stages);
  parts_.clock.Mark("hello received");
  parts_.state.guest_release = Escape(hello.release, 128);
  if (parts_.state.state == State::kStarting) parts_.state.state = State::kRunning;
  SaveState(Record::Durability::kNone);
  relay_->SendToAll(protocol::Type::kReady, AsBytes(RecordText()));
}

void Supervisor::OnGoodbye(std::string reason) {
  said_goodbye_ = true;
  goodbye_ = std::move(reason);
}

void Supervisor::OnFault(Error fault) {
  agent_ended_ = true;
  MaybeFinish();
  if (machine_end_ || outcome_) return;
  if (fault.code() == Code::kUnavailable || fault.sys_errno() != 0) {
    // The machine's own end tells more, and is on its way; a large guest takes its time.
    fault_timer_ = loop_.After(
        kChannelGrace, [this] { Conclude(Diagnose({.detail = "the agent channel was closed"})); });
    return;
  }
  Conclude({.kind = relay_->hello_received() ? OutcomeKind::kMachineDied : OutcomeKind::kBootFailed,
            .detail = Cat("the agent broke the protocol: ", Escape(fault.message(), 300))});
}

void Supervisor::OnConsole() {
  std::array<std::byte, 16 * 1024> buffer;
  auto count = sys::ReadSome(parts_.console, buffer);
  if (!count && count.error().sys_errno() == EAGAIN) return;
  if (!count || *count == 0) {
    console_watch_.Cancel();
    console_ended_ = true;
    MaybeFinish();
    return;
  }
  auto bytes = std::span<const std::byte>(buffer).first(*count);
  console_.Append(bytes);
  if (!parts_.spec.debug_console) return;
  std::string text = ConsoleText(AsText(bytes));
  // A reader that does not keep up loses some: only what a pipe takes at once is written (pipe(7):
  // writable means PIPE_BUF bytes), for our own loop must never stand still.
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  while (!text.empty() && ::poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0) {
    ssize_t written = ::write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (written <= 0) break;
    text.erase(0, static_cast<size_t>(written));
  }
}

void Supervisor::OnBootDeadline() {
  Conclude({.kind = OutcomeKind::kBootFailed,
            .detail = Cat("no hello from the guest within ", FormatDuration(parts_.boot_deadline),
                          "; ", LastStage())});
}

std::string Supervisor::LastStage() const {
  // Of the machine, not of our own set-up, which went on beside it.
  std::string_view reached = channel_seen_          ? "agent channel opened"
                             : console_.total() > 0 ? "kernel running"
                                                    : "machine started";
  std::string stage = Cat("last stage: ", reached);
  std::string tail = console_.Tail(3);
  if (tail.empty()) return Cat(stage, ", nothing on its console");
  return Cat(stage, ", its console ends with: ", tail);
}

}  // namespace msb::sandbox
