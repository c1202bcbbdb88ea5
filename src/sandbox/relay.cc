// SPDX-License-Identifier: Apache-2.0
// The relay's two sides meet here: connections, the machine as a whole, reconnects.

#include "sandbox/relay.h"

#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "sandbox/relay_parts.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

constexpr size_t kMaxConnections = 128;
// Beyond this a connection does not read what it asked for.
constexpr size_t kMaxClientQueue = size_t{64} << 20;
constexpr uint32_t kMaxReconnects = 64;

}  // namespace

void Refuse(BorrowedFd client, const Error& error) {
  std::vector<std::byte> out;
  protocol::AppendFrame(out, {.type = protocol::Type::kHello}, Encode(protocol::Hello{}));
  protocol::AppendFrame(out, {.type = protocol::Type::kError}, Encode(protocol::ToBody(error)));
  // A client that has gone needs no answer.
  (void)sys::SendSome(client, out);
}

Relay::Relay(event::Loop& loop, Owner& owner) : loop_(loop), owner_(owner) {}
Relay::~Relay() = default;

Result<std::unique_ptr<Relay>> Relay::Create(event::Loop& loop, UniqueFd agent, Owner& owner) {
  std::unique_ptr<Relay> relay(new Relay(loop, owner));
  relay->agent_ = std::make_unique<AgentSide>(*relay);
  relay->agent_->socket = TRY(
      FrameSocket::Create(loop, std::move(agent), *relay->agent_, protocol::FrameReader::kLarge));
  relay->Reconnect();
  return relay;
}

// Connections.

Result<Relay::ConnectionId> Relay::AddConnection(UniqueFd socket) {
  if (connections_.size() >= kMaxConnections) {
    auto full = Error(Code::kResourceExhausted,
                      Cat("the sandbox has ", kMaxConnections, " connections, as many as it takes"))
                    .Remedy("wait for some of the commands in it to end");
    Refuse(socket, full);
    return full;
  }
  ConnectionId id = next_connection_++;
  auto connection = std::make_unique<Connection>(*this, id);
  connection->socket = TRY(FrameSocket::Create(loop_, std::move(socket), *connection));
  connection->socket->Send({.type = protocol::Type::kHello}, Encode(protocol::Hello{}));
  connection->socket->Flush();
  connections_.emplace(id, std::move(connection));
  return id;
}

void Relay::SendTo(ConnectionId connection, protocol::Type type, std::span<const std::byte> body) {
  auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  found->second->socket->Send({.type = type}, body);
  found->second->socket->Flush();
}

void Relay::SendToAll(protocol::Type type, std::span<const std::byte> body) {
  for (auto& [id, connection] : connections_) {
    connection->socket->Send({.type = type}, body);
    connection->socket->Flush();
  }
}

void Relay::SendError(ConnectionId connection, uint32_t exec, const Error& error) {
  auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  found->second->socket->Send({.type = protocol::Type::kError, .exec = exec},
                              Encode(protocol::ToBody(error)));
  found->second->socket->Flush();
}

bool Relay::Flushed() const {
  for (const auto& [id, connection] : connections_)
    if (connection->socket->queued() > 0) return false;
  return true;
}

void Relay::Disconnect(ConnectionId connection) {
  auto found = connections_.find(connection);
  if (found != connections_.end()) OnClientEnded(*found->second);
}

void Relay::OnClientEnded(Connection& connection) {
  if (std::exchange(connection.gone, true)) return;
  // What it was to be sent from the agent's buffer must not wait for it there any more.
  connection.socket->Flush();
  for (auto [client_id, machine_id] : connection.execs) {
    Exec& exec = execs_.at(machine_id);
    exec.client = nullptr;
    exec.hangup_asked = true;
    ToAgent(exec, protocol::Type::kHangup);
  }
  connection.execs.clear();
  agent_->socket->Flush();
  ConnectionId id = connection.id;
  auto node = connections_.extract(id);
  Bury(std::move(node.mapped()));
  owner_.OnDisconnected(id);
}

// The connection's own callback may be running.
void Relay::Bury(std::unique_ptr<Connection> connection) {
  // std::function copies what it holds.
  std::shared_ptr<Connection> buried = std::move(connection);  // Owned by the posted function.
  loop_.Post([buried] {});
}

void Relay::FlushAll() {
  agent_->socket->Flush();
  std::vector<ConnectionId> stuck;
  for (auto& [id, connection] : connections_) {
    connection->socket->Flush();
    if (connection->socket->queued() > kMaxClientQueue) stuck.push_back(id);
  }
  for (ConnectionId id : stuck) Disconnect(id);
}

void Relay::Throttle() {
  bool full = agent_->socket->queued() > kMaxAgentQueue;
  if (full) return;
  for (auto& [id, connection] : connections_) connection->socket->PauseReading(false);
}

// The machine.

void Relay::ShutDownGuest() {
  agent_->socket->Send({.type = protocol::Type::kShutdown});
  agent_->socket->Flush();
}

void Relay::Close(Error why) { closed_ = std::make_unique<Error>(std::move(why)); }

Result<void> Relay::OnAgentFrame(const protocol::Frame& frame) {
  using protocol::Type;
  const auto& header = frame.header;
  if (header.type == Type::kHello) return OnHello(frame);
  if (header.type == Type::kGoodbye) {
    owner_.OnGoodbye(Escape(AsText(frame.body), 200));
    return {};
  }
  if (!hello_received_) return Error(Code::kInvalidArgument, "a frame before the hello");
  if (header.type == Type::kPong) return OnPong(frame);
  if (header.type == Type::kPing) {
    if (agent_->socket->queued() > kMaxAgentQueue)
      return Error(Code::kInvalidArgument, "pings without reading the answers");
    agent_->socket->Send({.type = Type::kPong}, frame.body);
    return {};
  }
  auto found = execs_.find(header.exec);
  if (found == execs_.end()) return OnUnknownExec(frame);
  return OnAgentExecFrame(found->second, frame);
}

Result<void> Relay::OnHello(const protocol::Frame& frame) {
  protocol::Hello hello = TRY(protocol::ParseHello(frame.body));
  bool first = !hello_received_;
  hello_received_ = true;
  if (!first) {
    if (++reconnects_ > kMaxReconnects)
      return Error(Code::kInvalidArgument, Cat("more than ", kMaxReconnects, " reconnects"));
    if (agent_->socket->queued() > kMaxAgentQueue)
      return Error(Code::kInvalidArgument, "reconnects without reading the answers");
    Reconnect();
  } else {
    // What was queued before the boot carries the clock of that moment.
    protocol::MachineConfig clock;
    clock.realtime_ns = owner_.Config().realtime_ns;
    agent_->socket->Send({.type = protocol::Type::kConfig}, Encode(clock));
    agent_->socket->Flush();
  }
  owner_.OnHello(hello, first);
  return {};
}

// Everything that the agent may not have, in the order of schema/README.md, "Reconnecting".
void Relay::Reconnect() {
  using protocol::Type;
  epoch_++;
  pings_.clear();
  for (auto& [id, connection] : connections_) connection->pings_owed = 0;
  agent_->socket->Send({.type = Type::kHello}, Encode(protocol::Hello{.epoch = epoch_}));
  agent_->socket->Send({.type = Type::kConfig}, Encode(owner_.Config()));
  for (auto& [id, exec] : execs_) RepeatToAgent(exec);
  for (auto& [id, connection] : connections_) {
    if (!connection->greeted || connection->execs.empty()) continue;
    connection->hellos_owed++;
    connection->socket->Send({.type = Type::kHello}, Encode(protocol::Hello{.epoch = epoch_}));
  }
  FlushAll();
}

void Relay::RepeatToAgent(Exec& exec) {
  using protocol::Type;
  exec.input.Rewind();
  if (!exec.answered) ToAgent(exec, Type::kExecOpen, exec.open);
  for (uint8_t i = 0; i < 2; i++) {
    const OutputGate& gate = exec.outputs[i];
    uint8_t fd = static_cast<uint8_t>(i + 1);
    if (exec.output_reset[i]) {
      ToAgent(exec, Type::kReset, {}, fd);
    } else if (gate.granted()) {
      ToAgent(exec, Type::kCredit, protocol::EncodeU64(gate.limit()), fd, gate.consumed());
    }
  }
  if (exec.resize) ToAgent(exec, Type::kResize, Encode(*exec.resize));
  if (exec.kill_asked) ToAgent(exec, Type::kKill);
  if (exec.hangup_asked) ToAgent(exec, Type::kHangup);
}

Result<void> Relay::OnPong(const protocol::Frame& frame) {
  if (pings_.empty()) {
    // A pong may cross a reconnect, but not otherwise come unasked.
    if (reconnects_ > 0) return {};
    return Error(Code::kInvalidArgument, "a pong that nobody asked for");
  }
  auto found = connections_.find(pings_.front());
  pings_.pop_front();
  if (found == connections_.end()) return {};
  found->second->pings_owed--;
  found->second->socket->Send({.type = protocol::Type::kPong}, frame.body);
  return {};
}

void Relay::OnAgentEnded(Error reason) {
  agent_gone_ = true;
  FlushAll();
  owner_.OnFault(std::move(reason));
}

}  // namespace msb::sandbox
