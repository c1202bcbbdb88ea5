// SPDX-License-Identifier: Apache-2.0
// What the relay keeps for each connection and each exec; private to it.

#pragma once

#include <map>
#include <memory>
#include <optional>

#include "sandbox/relay.h"

namespace msb::sandbox {

// Beyond this the guest does not read its channel: who fills it more has to wait.
inline constexpr size_t kMaxAgentQueue = size_t{4} << 20;

class Relay::AgentSide : public FrameSocket::Handler {
 public:
  explicit AgentSide(Relay& relay) : relay_(relay) {}
  Result<void> OnFrame(const protocol::Frame& frame) override { return relay_.OnAgentFrame(frame); }
  void OnBatchEnd() override { relay_.FlushAll(); }
  void OnDrained() override { relay_.Throttle(); }
  void OnEnded(Error reason) override { relay_.OnAgentEnded(std::move(reason)); }

  std::unique_ptr<FrameSocket> socket;

 private:
  Relay& relay_;
};

struct Relay::Connection : public FrameSocket::Handler {
  Connection(Relay& owner, ConnectionId number) : relay(owner), id(number) {}
  Result<void> OnFrame(const protocol::Frame& frame) override {
    // Events of the round in which it was given up may still arrive.
    if (gone) return Error(Code::kUnavailable, "disconnected");
    auto handled = relay.OnClientFrame(*this, frame);
    // A fault of the client: it is told, if it still listens.
    if (!handled && !gone)
      socket->Send({.type = protocol::Type::kError}, Encode(protocol::ToBody(handled.error())));
    return handled;
  }
  void OnBatchEnd() override { relay.FlushAll(); }
  void OnDrained() override { relay.owner_.OnFlushed(); }
  void OnEnded(Error) override { relay.OnClientEnded(*this); }

  Relay& relay;
  ConnectionId id;
  std::unique_ptr<FrameSocket> socket;
  std::map<uint32_t, uint32_t> execs;  // The client's id to the machine's.
  uint32_t last_exec = 0;              // Ids only grow: an id that is over cannot come back.
  bool greeted = false;
  bool gone = false;
  // HELLOs sent for a reconnect of the agent that the client has not answered: what it wrote before
  // it saw them belongs to the old connection.
  uint32_t hellos_owed = 0;
  size_t pings_owed = 0;  // Sent on to the agent, not answered.
};

struct Relay::Exec {
  uint32_t id = 0;
  Connection* client = nullptr;  // Null: gone; what comes is checked and dropped.
  uint32_t client_id = 0;
  protocol::Bytes open;  // The ExecSpec, while the agent has not answered.
  bool answered = false;
  bool kill_asked = false;
  bool hangup_asked = false;
  std::optional<protocol::TerminalSize> resize;
  OutputGate outputs[2];
  bool output_reset[2] = {false, false};
  bool input_reset = false;  // The client has been told that nobody reads.
  InputGate input;
};

}  // namespace msb::sandbox
