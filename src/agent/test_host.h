// SPDX-License-Identifier: Apache-2.0
// For tests: the host's side of a Session in this process, over a socketpair, with a loop that both
// are driven by. Keeps to the rules of schema/README.md, reconnecting included.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/accounts.h"
#include "agent/exec_group.h"
#include "agent/reaper.h"
#include "agent/session.h"
#include "base/fd.h"
#include "event/loop.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/stream.h"

namespace msb::agent {

// What the host knows of one exec.
struct HostExec {
  protocol::ExecSpec spec;
  std::optional<uint32_t> pid;
  std::optional<protocol::ExecFailed> failed;
  std::optional<protocol::ExecExit> exit;
  std::array<std::string, 3> output;  // 1 and 2.
  std::array<protocol::ReceiveStream, 3> receive;
  std::array<bool, 3> paused{};
  protocol::SendStream input;
  std::string to_send;  // Not yet in `input`.
  bool close_input = false;
  uint64_t input_read = 0;  // As acknowledged.
  bool input_reset = false;
  bool hung_up = false;  // No output and no end of it comes any more.

  bool ended() const { return failed || exit; }
};

class TestHost final : public Session::Machine {
 public:
  // `groups` null: process groups.
  explicit TestHost(std::unique_ptr<ExecGroups> groups = nullptr);
  ~TestHost() override;

  uint32_t Open(protocol::ExecSpec spec);
  HostExec& exec(uint32_t id) { return execs_.at(id); }
  void Input(uint32_t id, std::string bytes);
  void CloseInput(uint32_t id);
  void Send(const protocol::Header& header, protocol::ByteSpan body = {});
  void Signal(uint32_t id, uint32_t number);
  void Hangup(uint32_t id);
  void Pause(uint32_t id, uint8_t fd, bool on);
  // The end has been seen: CLOSE, and forgotten here.
  void Close(uint32_t id);

  // Drives both sides until `done`, at most 30 s; false and a test failure when it was not.
  bool Until(const std::function<bool()>& done);
  // Runs to the end and closes.
  HostExec Run(protocol::ExecSpec spec, std::string input = {});
  // The end of the exec, in one word: "exit 3", "signal 9", "failed 1", "oom".
  static std::string End(const HostExec& exec);

  // A new connection; the old one may have been cut anywhere.
  void Reconnect();
  // Cut the connection by itself after so many bytes to or from the agent.
  void CutAfter(size_t to_agent, size_t from_agent);
  bool cut() const { return cut_; }

  Session& session() { return *session_; }
  event::Loop& loop() { return *loop_; }
  int hellos = 0;
  int pongs = 0;
  std::optional<protocol::MachineConfig> config;
  bool shut_down = false;
  std::string disconnected;

 private:
  protocol::Hello MakeHello() override { return {.release = "test"}; }
  void Configure(const protocol::MachineConfig& c) override { config = c; }
  void Shutdown() override { shut_down = true; }
  void Disconnected(const std::string& why) override { disconnected = why; }

  void Connect();
  void Greet();
  void Step();
  void ReadFrames();
  void Take(const protocol::Frame& frame);
  void Produce();

  std::unique_ptr<event::Loop> loop_;
  std::unique_ptr<Accounts> accounts_;
  std::unique_ptr<ExecGroups> groups_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Reaper> reaper_;
  UniqueFd socket_;
  protocol::FrameReader reader_;
  std::vector<std::byte> outgoing_;
  std::map<uint32_t, HostExec> execs_;
  uint32_t next_id_ = 1;
  uint64_t epoch_ = 0;
  bool greeted_ = false;
  size_t to_agent_left_ = SIZE_MAX, from_agent_left_ = SIZE_MAX;
  bool cut_ = false;
};

// A spec of `sh -c script`.
inline protocol::ExecSpec Shell(std::string script) {
  return {.argv = {"/bin/sh", "-c", std::move(script)}};
}

}  // namespace msb::agent
