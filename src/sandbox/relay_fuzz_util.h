// SPDX-License-Identifier: Apache-2.0
// For the fuzz targets: a relay between two sockets, each fed by the target.

#pragma once

#include <memory>

#include "base/check.h"
#include "event/loop.h"
#include "sandbox/relay.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {

class RelayUnderFuzz : private Relay::Owner {
 public:
  RelayUnderFuzz() {
    loop_ = *event::Loop::Create();
    auto agent = *sys::MakeSocketPair();
    auto client = *sys::MakeSocketPair();
    agent_ = std::move(agent.second);
    client_ = std::move(client.second);
    CHECK(sys::SetNonBlocking(agent_, true).ok() && sys::SetNonBlocking(client_, true).ok());
    relay_ = *Relay::Create(*loop_, std::move(agent.first), *this);
    CHECK(relay_->AddConnection(std::move(client.first)).ok());
  }
  void FromAgent(std::span<const std::byte> bytes) { Feed(agent_, bytes); }
  void FromClient(std::span<const std::byte> bytes) { Feed(client_, bytes); }
  bool faulty() const { return faulty_; }

 private:
  void Feed(BorrowedFd socket, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      auto sent = sys::SendSome(socket, bytes);
      if (sent) bytes = bytes.subspan(*sent);
      if (!sent && sent.error().sys_errno() != EAGAIN) break;
      Round();
    }
    for (int i = 0; i < 8; i++) Round();
  }
  // Both peers read all the time, so that queues are exercised and emptied.
  void Round() {
    (void)loop_->RunOnce(Deadline::After(Clock::duration::zero()));
    std::byte buffer[65536];
    for (const UniqueFd* socket : {&agent_, &client_})
      while (true) {
        auto count = sys::ReadSome(*socket, buffer);
        if (!count || *count == 0) break;
      }
  }
  void OnHello(const protocol::Hello&, bool) override {}
  void OnGoodbye(std::string) override {}
  void OnFault(Error) override { faulty_ = true; }
  void OnExecStarted() override {}
  void OnFirstOutput() override {}
  void OnRequest(Relay::ConnectionId from, const Relay::Request&) override {
    relay_->SendTo(from, protocol::Type::kStatus, {});
  }
  void OnDisconnected(Relay::ConnectionId) override {}
  void OnFlushed() override {}
  protocol::MachineConfig Config() override { return {}; }

  std::unique_ptr<event::Loop> loop_;
  std::unique_ptr<Relay> relay_;
  UniqueFd agent_, client_;
  bool faulty_ = false;
};

inline std::vector<std::byte> ClientOpening() {
  std::vector<std::byte> out;
  protocol::ExecSpec spec;
  spec.argv = {"cat"};
  spec.stdin_open = true;
  protocol::AppendFrame(out, {.type = protocol::Type::kHello}, Encode(protocol::Hello{}));
  for (uint32_t exec : {1u, 2u}) {
    protocol::AppendFrame(out, {.type = protocol::Type::kExecOpen, .exec = exec}, Encode(spec));
    for (uint8_t fd : {uint8_t{1}, uint8_t{2}})
      protocol::AppendFrame(out, {.type = protocol::Type::kCredit, .fd = fd, .exec = exec},
                            protocol::EncodeU64(65536));
  }
  return out;
}

inline std::vector<std::byte> AgentOpening() {
  std::vector<std::byte> out;
  protocol::AppendFrame(out, {.type = protocol::Type::kHello}, Encode(protocol::Hello{}));
  for (uint32_t exec : {1u, 2u}) {
    protocol::AppendFrame(out, {.type = protocol::Type::kExecStarted, .exec = exec},
                          Encode(protocol::ExecStarted{.pid = 7}));
    protocol::AppendFrame(out, {.type = protocol::Type::kCredit, .fd = 0, .exec = exec},
                          protocol::EncodeU64(65536));
  }
  return out;
}

}  // namespace msb::sandbox
