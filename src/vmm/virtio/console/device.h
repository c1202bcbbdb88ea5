// SPDX-License-Identifier: Apache-2.0
// ConsoleDevice: the guest's console and the agent channel, as two ports of one virtio console with
// multiport (virtio 1.2, section 5.3).
//
//   port 0   hvc0        console socket   the kernel's messages
//   port 1   vport0p1    agent socket     named by the options: the agent finds it by its name
//
// The two take opposite sides when a socket is full. Linux spins with interrupts off until a
// console buffer comes back, so port 0 gives it back at once and drops (and counts) what did not
// fit. Not a byte of port 1 may be lost, so its buffers stay with the guest's ring until the socket
// takes them: nothing is held here but how far into the first buffer we are.
//
// Bytes go between guest memory and socket by one sendmsg() or recvmsg() for many buffers, without
// a copy of ours.
//
// Port 1 takes bytes in only while the guest has it open: Linux throws away what lies in the ring
// of a port that it closes. After the host's end hung up (PORT_OPEN 0 to the guest) and another
// came (AttachAgent), the guest must first close and open its port: so both sides know where the
// new connection begins. Until then nothing goes in, and what comes out is the old connection's and
// is dropped.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "vmm/virtio/console/control.h"
#include "vmm/virtio/console/port.h"
#include "vmm/virtio/device.h"

namespace msb::vmm {

struct ConsoleOptions {
  UniqueFd console;  // Stream sockets. Blocking or not: every call says MSG_DONTWAIT.
  UniqueFd agent;
  std::string agent_name = "org.microsandbox.agent";
  // Device thread. The guest opened or closed the agent port.
  std::function<void(bool open)> channel;
};

class ConsoleDevice final : public Device {
 public:
  static Result<std::unique_ptr<ConsoleDevice>> Create(event::Loop& loop, ConsoleOptions options);

  // A new host's end of the agent port; the old one is closed. Device thread.
  Result<void> AttachAgent(UniqueFd socket);
  const PortMetrics& console_metrics() const { return ports_[0]->metrics(); }
  const PortMetrics& agent_metrics() const { return ports_[1]->metrics(); }

  uint32_t device_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_limits() const override;
  void ReadConfig(uint32_t offset, std::span<std::byte> out) const override;
  Result<void> Activate(ActiveDevice active) override;
  void Notify(size_t queue) override;
  // A restored console has new hosts: to the guest the agent's old one has hung up.
  std::vector<std::byte> SaveState() const override;
  Result<void> RestoreState(std::span<const std::byte> bytes) override;
  void Reset() override;

 private:
  ConsoleDevice(event::Loop& loop, ConsoleOptions& options);
  void ReceiveControl();
  void HandleControl(const ControlMessage& message);
  void HandlePortReady(size_t port);
  void SendControl();
  size_t WriteReply(const Chain& chain, ControlReplies::Due due);
  void HostOpenChanged(bool open);

  event::Loop& loop_;
  const std::string agent_name_;
  std::function<void(bool open)> channel_;
  std::array<std::unique_ptr<Port>, kConsolePorts> ports_;
  ControlReplies replies_;
  bool agent_announced_ = false;  // The driver knows the agent port and can be told of it.
  event::Loop::Timer control_more_;
  ActiveDevice active_;
};

}  // namespace msb::vmm
