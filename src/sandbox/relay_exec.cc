// SPDX-License-Identifier: Apache-2.0
// Execs and their streams on their way through the relay.

#include "base/text.h"
#include "sandbox/relay.h"
#include "sandbox/relay_parts.h"

namespace msb::sandbox {
namespace {

constexpr size_t kMaxExecs = 1024;
constexpr size_t kMaxPings = 1024;                 // Of one connection, unanswered.
constexpr size_t kMaxPingsInAll = 16 * kMaxPings;  // Of connections that have gone, too.
constexpr size_t kMaxPingBody = 4096;
// Of a connection that asks for more: a console is sixteen thousand times its request.
constexpr size_t kMaxUnreadAnswers = size_t{4} << 20;

Error Fault(std::string what) { return Error(Code::kInvalidArgument, std::move(what)); }

}  // namespace

void Relay::ToAgent(Exec& exec, protocol::Type type, std::span<const std::byte> body, uint8_t fd,
                    uint64_t offset) {
  agent_->socket->Send({.type = type, .fd = fd, .exec = exec.id, .offset = offset}, body);
}

void Relay::Forward(Exec& exec, const protocol::Frame& frame, std::span<const std::byte> body) {
  if (exec.client == nullptr) return;
  protocol::Header header = frame.header;
  header.exec = exec.client_id;
  exec.client->socket->Send(header, body);
}

void Relay::Forget(uint32_t machine_id) {
  auto found = execs_.find(machine_id);
  if (found->second.client != nullptr) found->second.client->execs.erase(found->second.client_id);
  execs_.erase(found);
}

// From the agent.

Result<void> Relay::OnAgentExecFrame(Exec& exec, const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  // Every body is parsed before it goes on: clients are spared what a hostile guest invents.
  if (header.type == Type::kExecStarted) {
    TRY(protocol::ParseExecStarted(frame.body));
    if (std::exchange(exec.answered, true)) return {};
    exec.open = {};
    owner_.OnExecStarted();
    Forward(exec, frame, frame.body);
    return {};
  }
  if (header.type == Type::kData || header.type == Type::kEof || header.type == Type::kCredit ||
      header.type == Type::kReset) {
    if (!exec.answered) return Fault("a stream before the start of its exec");
    return OnAgentData(exec, frame);
  }
  if (header.type == Type::kExecFailed) {
    TRY(protocol::ParseExecFailed(frame.body));
    if (exec.answered) return Fault("an exec failed after its start");
  } else if (header.type == Type::kExecExit) {
    TRY(protocol::ParseExecExit(frame.body));
    if (!exec.answered) return Fault("an exec ended before its start");
  } else {
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " from the agent"));
  }
  // kExecFailed or kExecExit: the last frame of this id.
  Forward(exec, frame, frame.body);
  ToAgent(exec, Type::kClose);
  Forget(exec.id);
  return {};
}

Result<void> Relay::OnAgentData(Exec& exec, const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  bool is_output = header.type == Type::kData || header.type == Type::kEof;
  if (is_output != (header.fd != 0))
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " for stream ", header.fd,
                     " from the agent"));
  if (header.type == Type::kCredit) {
    // Only what is news goes on: a client that does not read must not be made to hold more.
    if (TRY(exec.input.OnCredit(header.offset, TRY(protocol::ParseU64(frame.body)))))
      Forward(exec, frame, frame.body);
    return {};
  }
  if (header.type == Type::kReset) {
    if (!std::exchange(exec.input_reset, true)) Forward(exec, frame, {});
    return {};
  }
  size_t index = header.fd - size_t{1};
  OutputGate& gate = exec.outputs[index];
  if (header.type == Type::kEof) {
    if (TRY(gate.OnEof(header.offset)) && !exec.output_reset[index]) Forward(exec, frame, {});
    return {};
  }
  protocol::ByteSpan fresh = TRY(gate.OnData(header.offset, frame.body));
  if (!std::exchange(first_output_seen_, true)) owner_.OnFirstOutput();
  if (fresh.empty() || exec.client == nullptr || exec.output_reset[index]) return {};
  // Flushed before the agent's next bytes are read: OnBatchEnd, or OnAgentEnded.
  exec.client->socket->SendInPlace({.type = Type::kData,
                                    .fd = header.fd,
                                    .exec = exec.client_id,
                                    .offset = gate.received() - fresh.size()},
                                   fresh);
  return {};
}

// EXEC_EXIT and EXEC_FAILED are the agent's last frame of an id, so nothing follows; only after a
// reconnect does it repeat itself about an id whose CLOSE was lost.
Result<void> Relay::OnUnknownExec(const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  if (reconnects_ == 0 || header.exec == 0 || header.exec >= next_exec_)
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " for unknown exec ",
                     header.exec));
  if (header.type == Type::kExecStarted || header.type == Type::kExecFailed ||
      header.type == Type::kExecExit)
    agent_->socket->Send({.type = Type::kClose, .exec = header.exec});
  return {};
}

// From a client.

Result<void> Relay::OnClientFrame(Connection& from, const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  if (header.type == Type::kHello) {
    TRY(protocol::ParseHello(frame.body));
    from.greeted = true;
    if (from.hellos_owed > 0) from.hellos_owed--;
    return {};
  }
  if (!from.greeted) return Fault("a frame before the hello");
  if (header.type == Type::kExecOpen) return OpenExec(from, frame);
  if (header.exec != 0) return OnClientExecFrame(from, frame);
  if (header.type == Type::kPing) return OnPing(from, frame);
  Request request;
  if (header.type == Type::kStatusRequest) {
    request.what = Request::What::kStatus;
  } else if (header.type == Type::kConsoleRequest) {
    request.what = Request::What::kConsole;
  } else if (header.type == Type::kKillMachine) {
    request.what = Request::What::kKill;
  } else if (header.type == Type::kStop) {
    request = {Request::What::kStop, TRY(protocol::ParseU32(frame.body))};
  } else {
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " from a client"));
  }
  bool answered = request.what == Request::What::kStatus || request.what == Request::What::kConsole;
  if (answered && from.socket->queued() > kMaxUnreadAnswers)
    return Error(Code::kResourceExhausted, "asks for more than it reads");
  owner_.OnRequest(from.id, request);
  return {};
}

Result<void> Relay::OnPing(Connection& from, const protocol::Frame& frame) {
  if (frame.body.size() > kMaxPingBody || from.pings_owed >= kMaxPings ||
      pings_.size() >= kMaxPingsInAll)
    return Fault("pings too large or too many");
  from.pings_owed++;
  pings_.push_back(from.id);
  agent_->socket->Send({.type = protocol::Type::kPing}, frame.body);
  return {};
}

Result<void> Relay::OpenExec(Connection& from, const protocol::Frame& frame) {
  uint32_t client_id = frame.header.exec;
  if (client_id <= from.last_exec)
    return Fault(Cat("exec id ", client_id, " after ", from.last_exec, ": ids must grow"));
  from.last_exec = client_id;
  auto refuse = [&](const Error& why) {
    from.socket->Send({.type = protocol::Type::kError, .exec = client_id},
                      Encode(protocol::ToBody(why)));
  };
  if (closed_ != nullptr) {
    refuse(*closed_);
    return {};
  }
  if (execs_.size() >= kMaxExecs) {
    refuse(Error(Code::kResourceExhausted, Cat("more than ", kMaxExecs, " commands at once"))
               .Remedy("wait for some to end"));
    return {};
  }
  auto spec = protocol::ParseExecSpec(frame.body);
  if (!spec) {
    refuse(spec.error());
    return {};
  }
  uint32_t id = next_exec_++;
  Exec& exec = execs_[id];
  exec.id = id;
  exec.client = &from;
  exec.client_id = client_id;
  exec.open.assign(frame.body.begin(), frame.body.end());
  from.execs.emplace(client_id, id);
  ToAgent(exec, protocol::Type::kExecOpen, frame.body);
  return {};
}

Result<void> Relay::OnClientExecFrame(Connection& from, const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  auto found = from.execs.find(header.exec);
  if (found == from.execs.end()) {
    // It crossed the exec's end on its way.
    if (header.exec <= from.last_exec) return {};
    return Fault(Cat("frame for unknown exec ", header.exec));
  }
  Exec& exec = execs_.at(found->second);
  if (header.type == Type::kData || header.type == Type::kEof || header.type == Type::kCredit ||
      header.type == Type::kReset)
    return OnClientStreamFrame(from, exec, frame);
  if (header.type == Type::kClose) return {};
  if (header.type == Type::kSignal) {
    TRY(protocol::ParseU32(frame.body));
  } else if (header.type == Type::kResize) {
    exec.resize = TRY(protocol::ParseTerminalSize(frame.body));
  } else if (header.type == Type::kKill) {
    exec.kill_asked = true;
  } else if (header.type == Type::kHangup) {
    exec.hangup_asked = true;
  } else {
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " from a client"));
  }
  ToAgent(exec, header.type, frame.body);
  if (agent_->socket->queued() > kMaxAgentQueue) from.socket->PauseReading(true);
  return {};
}

Result<void> Relay::OnClientStreamFrame(Connection& from, Exec& exec,
                                        const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  bool is_input = header.type == Type::kData || header.type == Type::kEof;
  if (is_input != (header.fd == 0))
    return Fault(Cat("frame of type ", static_cast<uint8_t>(header.type), " for stream ", header.fd,
                     " from a client"));
  if (is_input) {
    if (from.hellos_owed > 0) return {};
    if (header.type == Type::kData)
      TRY(exec.input.OnData(header.offset, frame.body));
    else
      TRY(exec.input.OnEof(header.offset));
  } else if (header.type == Type::kCredit) {
    uint64_t limit = TRY(protocol::ParseU64(frame.body));
    TRY(exec.outputs[header.fd - 1].OnCredit(header.offset, limit));
  } else {
    exec.output_reset[header.fd - 1] = true;
  }
  ToAgent(exec, header.type, frame.body, header.fd, header.offset);
  if (agent_->socket->queued() > kMaxAgentQueue) from.socket->PauseReading(true);
  return {};
}

}  // namespace msb::sandbox
