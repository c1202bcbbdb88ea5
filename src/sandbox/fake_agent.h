// SPDX-License-Identifier: Apache-2.0
// For tests: an agent and a machine without a guest, on a socketpair and the test's own loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "event/loop.h"
#include "protocol/messages.h"
#include "protocol/stream.h"
#include "sandbox/backend.h"
#include "sandbox/frame_socket.h"

namespace msb::sandbox {

// Plays these commands:
//   true             ends with 0                    exit N        ends with N
//   cat              stdin to stdout, ends at EOF   flood N       N bytes of 'x' on stdout
//   sleep            ends by kHangup or kKill       missing       EXEC_FAILED, not found
class FakeAgent : private FrameSocket::Handler {
 public:
  static std::unique_ptr<FakeAgent> Create(event::Loop& loop, UniqueFd socket);

  // Off: nothing is sent but what the test sends.
  bool polite = true;
  bool greet = true;
  bool answer_pings = true;
  std::function<void()> on_shutdown = [] {};
  std::vector<std::string> seen;  // "open 1 true", "hangup 1", "close 1", "credit 1/1", ...
  protocol::MachineConfig config;
  uint64_t epoch = 0;

  void Send(const protocol::Header& header, protocol::ByteSpan body = {});
  void SayHello();
  bool ended() const { return ended_; }
  size_t execs() const { return execs_.size(); }
  // Forgets what it was told and says hello again, as after a reconnect; streams stay.
  void Reconnect();

 private:
  struct Exec {
    std::vector<std::string> argv;
    protocol::SendStream out, err;
    protocol::ReceiveStream in;
    uint64_t left = 0;      // Of a flood.
    uint64_t received = 0;  // Of stdin, for cat.
    bool dying = false;
    int code = 0;
    bool exit_sent = false;
    bool stdin_open = false;
  };
  Result<void> OnFrame(const protocol::Frame& frame) override;
  void OnDrained() override { PumpAll(); }
  void OnEnded(Error) override { ended_ = true; }
  void Open(uint32_t id, const protocol::Frame& frame);
  void Pump(uint32_t id, Exec& exec);
  void PumpAll();
  void SendStreams(uint32_t id, uint8_t fd, protocol::SendStream& stream);

  std::unique_ptr<FrameSocket> socket_;
  std::map<uint32_t, Exec> execs_;
  bool ended_ = false;
};

// A machine that is a FakeAgent.
class FakeBackend : public Backend {
 public:
  explicit FakeBackend(event::Loop& loop) : loop_(loop) {}
  Result<void> Prepare(const MachineSpec&) override { return {}; }
  Result<MachineFacts> Start(MachineDescriptors descriptors) override;
  Result<void> Watch(event::Loop& loop, Watcher& watcher) override;
  void Stop() override { Die("killed"); }
  void Cleanup() override {}

  void Die(std::string why, bool by_guest = false);
  void Print(std::string_view console_text);
  Watcher* watcher() { return watcher_; }
  std::unique_ptr<FakeAgent> agent;

 private:
  event::Loop& loop_;
  UniqueFd console_;
  Watcher* watcher_ = nullptr;
  bool dead_ = false;
};

}  // namespace msb::sandbox
