// SPDX-License-Identifier: Apache-2.0
// The control queues, and which queue belongs to which port.

#include "vmm/virtio/console/device.h"

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "base/bytes.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

constexpr size_t kConsolePort = 0;
constexpr size_t kAgentPort = 1;

// 5.3.2: receive and transmit of port 0, of the control messages, of port 1.
enum QueueIndex : size_t {
  kConsoleReceive,
  kConsoleTransmit,
  kControlReceive,
  kControlTransmit,
  kAgentReceive,
  kAgentTransmit,
  kQueues,
};
// Linux fills every receive queue with pages when it finds the port, which costs the guest's boot
// time and memory. Nobody types at the console, and its driver has one write under way. The agent's
// are what one interrupt can bring: 256 KiB in, 64 frames out.
constexpr std::array<uint16_t, kQueues> kLimits = {4, 16, 8, 8, 64, 64};

// Control messages in one go before the loop turns to others.
constexpr int kControlRound = 64;

}  // namespace

Result<std::unique_ptr<ConsoleDevice>> ConsoleDevice::Create(event::Loop& loop,
                                                             ConsoleOptions options) {
  std::unique_ptr<ConsoleDevice> device(new ConsoleDevice(loop, options));
  TRY(device->ports_[kConsolePort]->Attach(std::move(options.console)).Context("console socket"));
  TRY(device->ports_[kAgentPort]->Attach(std::move(options.agent)).Context("agent socket"));
  return device;
}

ConsoleDevice::ConsoleDevice(event::Loop& loop, ConsoleOptions& options)
    : loop_(loop),
      agent_name_(std::move(options.agent_name)),
      channel_(std::move(options.channel)),
      ports_{std::make_unique<Port>(loop, PortKind::kConsole, [] {}),
             std::make_unique<Port>(loop, PortKind::kChannel, [this] { HostOpenChanged(false); })} {
}

Result<void> ConsoleDevice::AttachAgent(UniqueFd socket) {
  Port& port = *ports_[kAgentPort];
  port.HangUp();
  TRY(port.Attach(std::move(socket)).Context("agent socket"));
  HostOpenChanged(true);
  return {};
}

void ConsoleDevice::HostOpenChanged(bool open) {
  if (!agent_announced_) return;  // It is told when it asks.
  using Kind = ControlReplies::Kind;
  if (open) {
    replies_.Want(kAgentPort, Kind::kOpen);
  } else if (!replies_.Cancel(kAgentPort, Kind::kOpen)) {
    replies_.Want(kAgentPort, Kind::kClose);
  }
  SendControl();
}

uint32_t ConsoleDevice::device_id() const { return VIRTIO_ID_CONSOLE; }

uint64_t ConsoleDevice::features() const {
  return uint64_t{1} << VIRTIO_CONSOLE_F_MULTIPORT | kFeatureEventIndex;
}

std::span<const uint16_t> ConsoleDevice::queue_limits() const { return kLimits; }

void ConsoleDevice::ReadConfig(uint32_t offset, std::span<std::byte> out) const {
  CopyConfig(virtio_console_config{.max_nr_ports = kConsolePorts}, offset, out);
}

Result<void> ConsoleDevice::Activate(ActiveDevice active) {
  active_ = active;
  auto queues = active.queues;
  ports_[kConsolePort]->Start(&queues[kConsoleReceive], &queues[kConsoleTransmit], active.signal);
  ports_[kAgentPort]->Start(&queues[kAgentReceive], &queues[kAgentTransmit], active.signal);
  return {};
}

void ConsoleDevice::Reset() {
  // A kernel that halts resets its devices and closes nothing before.
  bool was_open = ports_[kAgentPort]->guest_open();
  control_more_.Cancel();
  for (auto& port : ports_) port->Stop();
  replies_.Clear();
  agent_announced_ = false;
  active_ = {};
  if (was_open && channel_) channel_(false);
}

std::vector<std::byte> ConsoleDevice::SaveState() const {
  ByteWriter out;
  out.Number(static_cast<uint8_t>(agent_announced_));
  out.Number(static_cast<uint8_t>(ports_[kAgentPort]->guest_open()));
  for (size_t port = 0; port < kConsolePorts; port++) out.Number(replies_.bits(port));
  return std::move(out).Take();
}

Result<void> ConsoleDevice::RestoreState(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  bool announced = TRY(in.Number<uint8_t>()) != 0;
  bool guest_open = TRY(in.Number<uint8_t>()) != 0;
  std::array<uint8_t, kConsolePorts> replies;
  for (uint8_t& bits : replies) bits = TRY(in.Number<uint8_t>());
  TRY(in.End());
  for (size_t port = 0; port < kConsolePorts; port++) replies_.SetBits(port, replies[port]);
  Port& agent = *ports_[kAgentPort];
  agent_announced_ = announced;
  agent.RestoreGuestOpen(guest_open);
  HostOpenChanged(false);
  if (agent.host_open()) HostOpenChanged(true);
  return {};
}

void ConsoleDevice::Notify(size_t queue) {
  switch (queue) {
    case kConsoleReceive:
      return ports_[kConsolePort]->ReceiveReady();
    case kConsoleTransmit:
      return ports_[kConsolePort]->TransmitReady();
    case kControlReceive:
      return SendControl();
    case kControlTransmit:
      return ReceiveControl();
    case kAgentReceive:
      return ports_[kAgentPort]->ReceiveReady();
    case kAgentTransmit:
      return ports_[kAgentPort]->TransmitReady();
    default:
      return;
  }
}

void ConsoleDevice::ReceiveControl() {
  if (active_.signal->needs_reset()) return;
  Queue& queue = *active_.queues[kControlTransmit];
  int count = 0;
  while (count < kControlRound) {
    auto chain = queue.Pop();
    if (!chain) break;
    count++;
    std::array<std::byte, kControlHeaderBytes> bytes;
    size_t size = CopyFrom(chain->readable, 0, bytes);
    auto message = ParseControl(std::span(bytes).first(size));
    queue.Push(chain->head, 0);
    if (message) HandleControl(*message);
  }
  if (queue.InterruptDue()) active_.signal->UsedBuffers();
  if (queue.broken()) return active_.signal->NeedsReset();
  if (count == kControlRound)
    control_more_ = loop_.After(Clock::duration::zero(), [this] { ReceiveControl(); });
  SendControl();
}

// What the device does not know it ignores: a driver may be newer than we are.
void ConsoleDevice::HandleControl(const ControlMessage& message) {
  if (message.event == VIRTIO_CONSOLE_DEVICE_READY && message.value == 1)
    for (size_t port = 0; port < kConsolePorts; port++)
      replies_.Want(port, ControlReplies::Kind::kAdd);
  if (message.port >= kConsolePorts) return;
  if (message.event == VIRTIO_CONSOLE_PORT_READY && message.value == 1)
    HandlePortReady(message.port);
  if (message.event == VIRTIO_CONSOLE_PORT_OPEN && message.port == kAgentPort) {
    bool open = message.value != 0;
    if (ports_[kAgentPort]->SetGuestOpen(open) && channel_) channel_(open);
  }
}

void ConsoleDevice::HandlePortReady(size_t port) {
  using Kind = ControlReplies::Kind;
  if (port == kConsolePort) return replies_.Want(port, Kind::kConsole);
  // The name first: when the port shows as open, whoever looks for it must find it.
  replies_.Want(port, Kind::kName);
  if (ports_[port]->host_open()) replies_.Want(port, Kind::kOpen);
  agent_announced_ = true;
}

void ConsoleDevice::SendControl() {
  if (active_.queues.empty() || !active_.queues[kControlReceive]) return;
  if (active_.signal->needs_reset()) return;
  Queue& queue = *active_.queues[kControlReceive];
  while (auto due = replies_.Next()) {
    auto chain = queue.Pop();
    if (!chain) break;
    if (chain->writable_bytes < kControlHeaderBytes) return active_.signal->NeedsReset();
    queue.Push(chain->head, static_cast<uint32_t>(WriteReply(*chain, *due)));
    replies_.Cancel(due->port, due->kind);
  }
  if (queue.InterruptDue()) active_.signal->UsedBuffers();
  if (queue.broken()) active_.signal->NeedsReset();
}

size_t ConsoleDevice::WriteReply(const Chain& chain, ControlReplies::Due due) {
  using Kind = ControlReplies::Kind;
  uint16_t event = VIRTIO_CONSOLE_PORT_OPEN;
  uint16_t value = 1;
  switch (due.kind) {
    case Kind::kAdd:
      event = VIRTIO_CONSOLE_PORT_ADD;
      break;
    case Kind::kConsole:
      event = VIRTIO_CONSOLE_CONSOLE_PORT;
      break;
    case Kind::kName:
      event = VIRTIO_CONSOLE_PORT_NAME;
      break;
    case Kind::kClose:
      value = 0;
      break;
    case Kind::kOpen:
      break;
  }
  auto bytes =
      ControlBytes({.port = static_cast<uint32_t>(due.port), .event = event, .value = value});
  size_t written = CopyTo(chain.writable, 0, bytes);
  if (due.kind == Kind::kName) written += CopyTo(chain.writable, written, AsBytes(agent_name_));
  return written;
}

}  // namespace msb::vmm
