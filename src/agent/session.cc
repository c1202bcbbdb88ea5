// SPDX-License-Identifier: Apache-2.0
// Frames to execs, and execs to frames in turn.

#include "agent/session.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::agent {
namespace {

using protocol::Frame;
using protocol::Header;
using protocol::Type;

// How long the news of a start or of a closed output waits for company: an exec that ends within
// it costs the host one wake-up instead of three.
constexpr auto kSoon = std::chrono::milliseconds(1);
// How long ended orphans wait for more of them before their groups are swept.
constexpr auto kSweep = std::chrono::milliseconds(100);
// Bytes held for the host over all streams, beyond which each gets a fair share only.
constexpr uint64_t kPlenty = 8 << 20;
// So few execs cannot hold more than that in both their outputs' windows.
constexpr size_t kFewExecs = kPlenty / (2 * protocol::kOutputWindow);

Error Fault(std::string_view what, const Frame& frame) {
  return Error(Code::kInvalidArgument, Cat(what, " (type ", static_cast<uint8_t>(frame.header.type),
                                           ", exec ", frame.header.exec, ")"));
}

}  // namespace

Result<void> Session::Attach(UniqueFd channel) {
  TRY(link_.Attach(std::move(channel)));
  greeted_ = false;
  SayHello();
  return {};
}

void Session::SayHello() {
  for (auto& [id, entry] : execs_) {
    entry.exec->Rewind();
    entry.queued = false;
  }
  ready_.clear();
  auto hello = machine_.MakeHello();
  hello.epoch = epoch_;
  link_.Send({.type = Type::kHello}, Encode(hello));
  link_.Flush();
}

void Session::Goodbye(std::string_view reason) {
  link_.Send({.type = Type::kGoodbye}, AsBytes(reason.substr(0, protocol::kMaxBody)));
  link_.Flush();
}

Result<void> Session::OnFrame(const Frame& frame) {
  if (frame.header.type == Type::kHello) return OnHello(frame);
  if (!greeted_) return Fault("a frame before the hello", frame);
  if (frame.header.exec == 0) return OnMachineFrame(frame);
  if (frame.header.type == Type::kExecOpen) return OnExecOpen(frame);
  auto found = execs_.find(frame.header.exec);
  // Crossed with the end of its exec.
  if (found == execs_.end()) return {};
  return OnExecFrame(*found->second.exec, frame);
}

Result<void> Session::OnHello(const Frame& frame) {
  auto hello = TRY(protocol::ParseHello(frame.body));
  epoch_ = hello.epoch;
  // The host has begun anew and we have not seen the end of the old connection.
  if (greeted_) SayHello();
  greeted_ = true;
  for (auto& [id, entry] : execs_) Ready(id, false);
  return {};
}

Result<void> Session::OnMachineFrame(const Frame& frame) {
  Type type = frame.header.type;
  if (type == Type::kConfig) {
    machine_.Configure(TRY(protocol::ParseMachineConfig(frame.body)));
  } else if (type == Type::kPing) {
    link_.Send({.type = Type::kPong}, frame.body);
    urgent_ = true;
  } else if (type == Type::kShutdown) {
    // Not from within the dispatch of its frame.
    loop_.Post([this] { machine_.Shutdown(); });
  } else if (type != Type::kPong) {
    return Fault("not a frame for a machine", frame);
  }
  return {};
}

Result<void> Session::OnExecOpen(const Frame& frame) {
  uint32_t id = frame.header.exec;
  if (auto found = execs_.find(id); found != execs_.end()) {
    found->second.exec->RepeatAnswer();
    Ready(id, false);
    return {};
  }
  auto spec = TRY(protocol::ParseExecSpec(frame.body));
  bool full = execs_.size() >= kMaxExecs;
  // A host that never closes what it opened: the answers themselves must have an end.
  if (execs_.size() >= 2 * kMaxExecs) return Fault("too many execs", frame);
  auto& exec = *(execs_[id].exec = std::make_unique<Exec>(id, *this));
  if (full) {
    exec.Refuse(protocol::FailReason::kResources, EAGAIN,
                Cat(kMaxExecs, " execs run already in this sandbox"));
    return {};
  }
  exec.Open(spec);
  if (exec.pid() > 0) by_pid_[exec.pid()] = id;
  return {};
}

Result<void> Session::OnExecFrame(Exec& exec, const Frame& frame) {
  const Header& header = frame.header;
  if (header.type == Type::kCredit)
    return exec.OnCredit(header.fd, header.offset, TRY(protocol::ParseU64(frame.body)));
  if (header.type == Type::kReset) {
    exec.OnReset(header.fd);
    return {};
  }
  // The host's one stream is stdin, and what is not about a stream carries 0 there.
  if (header.fd != 0) return Fault("not a stream of the host's", frame);
  if (header.type == Type::kData) return exec.OnData(header.offset, frame.body);
  if (header.type == Type::kEof) return exec.OnEof(header.offset);
  return OnExecCommand(exec, frame);
}

Result<void> Session::OnExecCommand(Exec& exec, const Frame& frame) {
  Type type = frame.header.type;
  if (type == Type::kSignal) {
    uint32_t signal = TRY(protocol::ParseU32(frame.body));
    if (signal < 1 || signal > static_cast<uint32_t>(SIGRTMAX)) return Fault("bad signal", frame);
    exec.Signal(static_cast<int>(signal));
  } else if (type == Type::kResize) {
    exec.Resize(TRY(protocol::ParseTerminalSize(frame.body)));
  } else if (type == Type::kKill) {
    exec.Kill();
  } else if (type == Type::kHangup) {
    exec.Hangup();
  } else if (type == Type::kClose) {
    if (!exec.ended()) return Fault("close of a running exec", frame);
    Forget(exec);
  } else {
    return Fault("not a frame for an exec", frame);
  }
  return {};
}

void Session::Forget(Exec& exec) {
  for (auto& fd : exec.TakeDrains()) KeepDraining(std::move(fd));
  execs_.erase(exec.id());
  untidy_ = true;
}

void Session::KeepDraining(UniqueFd fd) {
  auto drain = drains_.insert(drains_.end(), Drain{std::move(fd), {}});
  auto watch = loop_.Watch(drain->fd, event::Interest::kRead,
                           [this, drain](event::Ready) { ReadDrain(drain); });
  if (watch.ok())
    drain->watch = *std::move(watch);
  else
    drains_.erase(drain);
}

void Session::ReadDrain(std::list<Drain>::iterator drain) {
  std::array<std::byte, 16384> thrown_away;
  ssize_t n = ::read(drain->fd.get(), thrown_away.data(), thrown_away.size());
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
  drains_.erase(drain);
}

void Session::OnChildExit(pid_t pid, int wait_status, const struct rusage& usage) {
  auto found = by_pid_.find(pid);
  if (found == by_pid_.end()) {  // An orphan, perhaps the last process of an exec that has ended.
    if (!sweep_.pending()) sweep_ = loop_.After(kSweep, [this] { groups_.Sweep(); });
    return;
  }
  auto exec = execs_.find(found->second);
  by_pid_.erase(found);
  if (exec != execs_.end()) exec->second.exec->OnReaped(wait_status, usage);
}

void Session::Ready(uint32_t id, bool soon) {
  auto found = execs_.find(id);
  if (found == execs_.end()) return;
  if (!found->second.queued) {
    found->second.queued = true;
    ready_.push_back(id);
  }
  if (!soon) {
    urgent_ = true;
  } else if (!soon_.pending()) {
    soon_ = loop_.After(kSoon, [this] { Pump(); });
  }
}

bool Session::Crowded() const {
  if (execs_.size() <= kFewExecs) return false;
  uint64_t held = 0;
  for (const auto& [id, entry] : execs_) held += entry.exec->held();
  return held > kPlenty;
}

void Session::Flush() {
  if (urgent_) Pump();
}

void Session::Pump() {
  if (!link_.attached() || !greeted_) return;
  urgent_ = false;
  soon_.Cancel();
  while (!ready_.empty() && !link_.blocked()) {
    uint32_t id = ready_.front();
    ready_.pop_front();
    auto found = execs_.find(id);
    if (found == execs_.end()) continue;
    found->second.queued = found->second.exec->Produce(link_);
    if (found->second.queued) ready_.push_back(id);
    if (link_.blocked()) link_.Flush();
  }
  link_.Flush();
}

void Session::OnBatch() {
  Flush();
  if (!untidy_) return;
  untidy_ = false;
  groups_.Tidy();
}

void Session::OnWritable() { Pump(); }

void Session::OnEnded(const std::string& why) {
  greeted_ = false;
  machine_.Disconnected(why);
}

}  // namespace msb::agent
