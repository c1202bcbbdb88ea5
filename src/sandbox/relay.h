// SPDX-License-Identifier: Apache-2.0
// Relay: passes execs and their streams between the clients' control sockets and the agent channel,
// and believes neither side.
//
//   client A  exec 1 ─┐                       ┌─ exec 1
//             exec 2 ─┤  control sockets      ├─ exec 2   one agent channel
//   client B  exec 1 ─┴─────── Relay ─────────┴─ exec 3
//
// Frames are forwarded with another exec id; streams are checked by their gates, not buffered:
// credit goes from end to end. What the agent does wrong is the machine's end (Owner::OnFault),
// what a client does wrong is the end of its connection.

#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "sandbox/frame_socket.h"
#include "sandbox/stream_gate.h"

namespace msb::sandbox {

// What a client hears that gets no connection: a hello, and why.
void Refuse(BorrowedFd client, const Error& error);

class Relay {
 public:
  using ConnectionId = uint64_t;

  // A request of a client that concerns the machine, not an exec.
  struct Request {
    enum class What : uint8_t { kStatus, kStop, kKill, kConsole } what = What::kStatus;
    uint32_t grace_ms = 0;
  };

  class Owner {
   public:
    virtual ~Owner() = default;
    // Each hello of the agent; `first` once.
    virtual void OnHello(const protocol::Hello& hello, bool first) = 0;
    virtual void OnGoodbye(std::string reason) = 0;
    // The agent broke the protocol: nothing of it is read any more.
    virtual void OnFault(Error fault) = 0;
    virtual void OnExecStarted() = 0;
    virtual void OnFirstOutput() = 0;
    virtual void OnRequest(ConnectionId from, const Request& request) = 0;
    virtual void OnDisconnected(ConnectionId connection) = 0;
    // A connection that was full has taken everything.
    virtual void OnFlushed() = 0;
    // The configuration to send now: it carries the time.
    virtual protocol::MachineConfig Config() = 0;
  };

  // `agent` is the supervisor's end of the channel. HELLO and CONFIG are queued at once.
  static Result<std::unique_ptr<Relay>> Create(event::Loop& loop, UniqueFd agent, Owner& owner);
  ~Relay();

  // kResourceExhausted when there are too many; whoever is at the other end has then been told.
  Result<ConnectionId> AddConnection(UniqueFd socket);
  size_t connections() const { return connections_.size(); }
  bool hello_received() const { return hello_received_; }

  // Frames of the supervisor's own, to one connection or all.
  void SendTo(ConnectionId connection, protocol::Type type, std::span<const std::byte> body);
  void SendToAll(protocol::Type type, std::span<const std::byte> body);
  void SendError(ConnectionId connection, uint32_t exec, const Error& error);
  // True when everything that was sent has left; connections that do not read are not waited for
  // for ever: that is the caller's timer.
  bool Flushed() const;
  void Disconnect(ConnectionId connection);

  // Asks the agent to end everything and power off.
  void ShutDownGuest();
  // No exec is opened any more; the error is what clients are told.
  void Close(Error why);

 private:
  struct Connection;
  struct Exec;
  class AgentSide;

  Relay(event::Loop& loop, Owner& owner);
  // From the agent.
  Result<void> OnAgentFrame(const protocol::Frame& frame);
  Result<void> OnHello(const protocol::Frame& frame);
  Result<void> OnAgentExecFrame(Exec& exec, const protocol::Frame& frame);
  Result<void> OnAgentData(Exec& exec, const protocol::Frame& frame);
  Result<void> OnUnknownExec(const protocol::Frame& frame);
  Result<void> OnPong(const protocol::Frame& frame);
  void OnAgentEnded(Error reason);
  void Reconnect();
  void RepeatToAgent(Exec& exec);
  // From a client.
  Result<void> OnClientFrame(Connection& from, const protocol::Frame& frame);
  Result<void> OnClientExecFrame(Connection& from, const protocol::Frame& frame);
  Result<void> OnClientStreamFrame(Connection& from, Exec& exec, const protocol::Frame& frame);
  Result<void> OpenExec(Connection& from, const protocol::Frame& frame);
  Result<void> OnPing(Connection& from, const protocol::Frame& frame);
  void OnClientEnded(Connection& connection);

  void Forward(Exec& exec, const protocol::Frame& frame, std::span<const std::byte> body);
  void ToAgent(Exec& exec, protocol::Type type, std::span<const std::byte> body = {},
               uint8_t fd = 0, uint64_t offset = 0);
  void Forget(uint32_t machine_id);
  void FlushAll();
  void Throttle();
  void Bury(std::unique_ptr<Connection> connection);

  event::Loop& loop_;
  Owner& owner_;
  std::unique_ptr<AgentSide> agent_;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::map<uint32_t, Exec> execs_;  // By the machine's id.
  uint32_t next_exec_ = 1;
  ConnectionId next_connection_ = 1;
  std::deque<ConnectionId> pings_;  // Who is owed the agent's next pongs.
  uint64_t epoch_ = 0;
  uint32_t reconnects_ = 0;
  bool hello_received_ = false;
  bool first_output_seen_ = false;
  bool agent_gone_ = false;
  std::unique_ptr<Error> closed_;
};

}  // namespace msb::sandbox
