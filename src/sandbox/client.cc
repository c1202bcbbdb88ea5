// SPDX-License-Identifier: Apache-2.0
// The client's side of the control protocol (schema/README.md).

#include "sandbox/client.h"

#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "protocol/stream.h"
#include "sandbox/frame_socket.h"
#include "sandbox/outcome_json.h"

namespace msb::sandbox {
namespace {

using protocol::Type;

// Stdin is handed over in pieces of this size, and only while little is queued: what is queued
// cannot be taken back when the exec ends.
constexpr size_t kMaxQueued = 128 * 1024;

Error Unexpected(Type type) {
  return Error(Code::kDataLoss,
               Cat("the supervisor sent a frame of type ", static_cast<uint8_t>(type)));
}

struct ClientExec {
  protocol::SendStream input;
  protocol::ReceiveStream outputs[2] = {protocol::ReceiveStream(protocol::kOutputWindow),
                                        protocol::ReceiveStream(protocol::kOutputWindow)};
  uint64_t input_consumed = 0;
  bool input_gone = false;
};

class ClientImpl : public Client, private FrameSocket::Handler {
 public:
  ClientImpl(Listener& listener) : listener_(listener) {}
  ~ClientImpl() override { *alive_ = false; }

  Result<void> Open(event::Loop& loop, UniqueFd socket) {
    socket_ =
        TRY(FrameSocket::Create(loop, std::move(socket), *this, protocol::FrameReader::kLarge));
    socket_->Send({.type = Type::kHello}, Encode(protocol::Hello{}));
    socket_->Flush();
    return {};
  }

  uint32_t OpenExec(const protocol::ExecSpec& spec) override {
    uint32_t id = next_exec_++;
    ClientExec& exec = execs_[id];
    socket_->Send({.type = Type::kExecOpen, .exec = id}, Encode(spec));
    for (uint8_t fd : {uint8_t{1}, uint8_t{2}}) SendCredit(id, exec, fd);
    socket_->Flush();
    return id;
  }
  size_t StdinRoom(uint32_t id) const override {
    auto found = execs_.find(id);
    return found == execs_.end() ? 0 : found->second.input.Room();
  }
  uint64_t StdinConsumed(uint32_t id) const override {
    auto found = execs_.find(id);
    return found == execs_.end() ? 0 : found->second.input_consumed;
  }
  void WriteStdin(uint32_t id, std::span<const std::byte> bytes) override {
    auto found = execs_.find(id);
    if (found == execs_.end()) return;
    found->second.input.Append(bytes);
    SendInput(id, found->second);
    socket_->Flush();
  }
  void CloseStdin(uint32_t id) override {
    auto found = execs_.find(id);
    if (found == execs_.end()) return;
    found->second.input.Close();
    SendInput(id, found->second);
    socket_->Flush();
  }
  void Consumed(uint32_t id, int fd, size_t bytes) override {
    auto found = execs_.find(id);
    if (found == execs_.end()) return;
    CHECK(fd == 1 || fd == 2);
    found->second.outputs[fd - 1].Consumed(bytes);
    SendCredit(id, found->second, static_cast<uint8_t>(fd));
    socket_->Flush();
  }
  void Signal(uint32_t id, int signal) override {
    SendNow(Type::kSignal, id, protocol::EncodeU32(static_cast<uint32_t>(signal)));
  }
  void Resize(uint32_t id, protocol::TerminalSize size) override {
    SendNow(Type::kResize, id, Encode(size));
  }
  void Kill(uint32_t id) override { SendNow(Type::kKill, id, {}); }
  void RequestStatus() override { SendNow(Type::kStatusRequest, 0, {}); }
  void RequestConsole() override { SendNow(Type::kConsoleRequest, 0, {}); }
  void Ping(std::span<const std::byte> body) override { SendNow(Type::kPing, 0, body); }
  void Stop(std::chrono::milliseconds grace) override {
    auto count = static_cast<uint32_t>(std::clamp<int64_t>(grace.count(), 0, UINT32_MAX));
    SendNow(Type::kStop, 0, protocol::EncodeU32(count));
  }
  void KillMachine() override { SendNow(Type::kKillMachine, 0, {}); }

 private:
  Result<void> OnFrame(const protocol::Frame& frame) override;
  Result<void> OnExecFrame(uint32_t id, ClientExec& exec, const protocol::Frame& frame);
  Result<void> OnInputFrame(uint32_t id, ClientExec& exec, const protocol::Frame& frame);
  Result<void> OnMachineFrame(const protocol::Frame& frame);
  Result<void> OnHello(const protocol::Frame& frame);
  Result<void> OnError(uint32_t id, const protocol::Frame& frame);
  void OnBatchEnd() override { socket_->Flush(); }
  void OnDrained() override;
  void OnEnded(Error reason) override;

  void SendNow(Type type, uint32_t id, std::span<const std::byte> body) {
    socket_->Send({.type = type, .exec = id}, body);
    socket_->Flush();
  }
  void SendCredit(uint32_t id, ClientExec& exec, uint8_t fd);
  void SendInput(uint32_t id, ClientExec& exec);

  Listener& listener_;
  std::unique_ptr<FrameSocket> socket_;
  std::map<uint32_t, ClientExec> execs_;
  uint32_t next_exec_ = 1;
  bool greeted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // Shared with frames of our own.
};

void ClientImpl::SendCredit(uint32_t id, ClientExec& exec, uint8_t fd) {
  auto& stream = exec.outputs[fd - 1];
  auto credit = stream.CreditDue();
  if (!credit) return;
  socket_->Send({.type = Type::kCredit, .fd = fd, .exec = id, .offset = credit->consumed},
                protocol::EncodeU64(credit->limit));
  stream.CreditSent();
}

void ClientImpl::SendInput(uint32_t id, ClientExec& exec) {
  while (socket_->queued() < kMaxQueued) {
    auto chunk = exec.input.Next(protocol::kMaxBody);
    if (!chunk) break;
    socket_->Send({.type = Type::kData, .fd = 0, .exec = id, .offset = chunk->offset},
                  chunk->bytes);
    exec.input.Sent(chunk->bytes.size());
  }
  if (auto end = exec.input.EofDue()) {
    socket_->Send({.type = Type::kEof, .fd = 0, .exec = id, .offset = *end});
    exec.input.EofSent();
  }
}

void ClientImpl::OnDrained() {
  for (auto& [id, exec] : execs_) SendInput(id, exec);
  socket_->Flush();
}

Result<void> ClientImpl::OnFrame(const protocol::Frame& frame) {
  const auto& header = frame.header;
  if (header.type == Type::kHello) return OnHello(frame);
  if (header.type == Type::kError) return OnError(header.exec, frame);
  if (!greeted_) return Error(Code::kDataLoss, "the supervisor did not greet");
  if (header.exec == 0) return OnMachineFrame(frame);
  auto found = execs_.find(header.exec);
  // It crossed the end of an exec that was refused.
  if (found == execs_.end()) return {};
  return OnExecFrame(header.exec, found->second, frame);
}

Result<void> ClientImpl::OnMachineFrame(const protocol::Frame& frame) {
  const Type type = frame.header.type;
  if (type == Type::kReady) {
    listener_.OnReady(std::string(AsText(frame.body)));
  } else if (type == Type::kStatus) {
    listener_.OnStatus(std::string(AsText(frame.body)));
  } else if (type == Type::kConsole) {
    listener_.OnConsole(frame.body);
  } else if (type == Type::kPong) {
    listener_.OnPong(frame.body);
  } else if (type == Type::kOutcome) {
    OutcomeMessage message = TRY(ParseOutcomeMessage(AsText(frame.body)));
    listener_.OnOutcome(message.outcome, message.record_json);
  } else {
    return Unexpected(type);
  }
  return {};
}

// The second and later: the agent was connected anew, and takes nothing for granted.
Result<void> ClientImpl::OnHello(const protocol::Frame& frame) {
  TRY(protocol::ParseHello(frame.body));
  if (!greeted_) {
    greeted_ = true;
    return {};
  }
  socket_->Send({.type = Type::kHello}, Encode(protocol::Hello{}));
  for (auto& [id, exec] : execs_) {
    exec.input.Rewind();
    SendInput(id, exec);
  }
  return {};
}

Result<void> ClientImpl::OnError(uint32_t id, const protocol::Frame& frame) {
  Error error = protocol::ToError(TRY(protocol::ParseErrorBody(frame.body)));
  execs_.erase(id);
  listener_.OnError(id, std::move(error));
  return {};
}

Result<void> ClientImpl::OnExecFrame(uint32_t id, ClientExec& exec, const protocol::Frame& frame) {
  const auto& header = frame.header;
  if (header.type == Type::kExecStarted) {
    listener_.OnStarted(id, TRY(protocol::ParseExecStarted(frame.body)).pid);
    return {};
  }
  if (header.type == Type::kExecFailed) {
    auto failed = TRY(protocol::ParseExecFailed(frame.body));
    execs_.erase(id);
    listener_.OnFailed(id, failed);
    return {};
  }
  if (header.type == Type::kExecExit) {
    auto exit = TRY(protocol::ParseExecExit(frame.body));
    execs_.erase(id);
    listener_.OnExit(id, exit);
    return {};
  }
  if (header.type == Type::kCredit || header.type == Type::kReset)
    return OnInputFrame(id, exec, frame);
  if (header.type != Type::kData && header.type != Type::kEof) return Unexpected(header.type);
  if (header.fd == 0) return Error(Code::kDataLoss, "the supervisor sent data on stdin");
  auto& stream = exec.outputs[header.fd - 1];
  if (header.type == Type::kEof) {
    TRY(stream.OnEof(header.offset));
    listener_.OnOutputEnd(id, header.fd);
    return {};
  }
  auto fresh = TRY(stream.OnData(header.offset, frame.body));
  if (!fresh.empty()) listener_.OnOutput(id, header.fd, fresh);
  return {};
}

Result<void> ClientImpl::OnInputFrame(uint32_t id, ClientExec& exec, const protocol::Frame& frame) {
  if (frame.header.type == Type::kReset) {
    exec.input.Reset();
    if (!std::exchange(exec.input_gone, true)) listener_.OnStdinGone(id);
    return {};
  }
  TRY(exec.input.OnCredit(frame.header.offset, TRY(protocol::ParseU64(frame.body))));
  exec.input_consumed = std::max(exec.input_consumed, frame.header.offset);
  SendInput(id, exec);
  listener_.OnStdinRoom(id);
  return {};
}

void ClientImpl::OnEnded(Error reason) {
  auto alive = alive_;
  if (reason.code() != Code::kUnavailable && reason.sys_errno() == 0) {
    // Not the hang-up, but frames that make no sense.
    listener_.OnError(0, std::move(reason).Context("control connection"));
    if (!*alive) return;
  }
  listener_.OnClosed();
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Create(event::Loop& loop, UniqueFd socket,
                                               Listener& listener) {
  auto client = std::make_unique<ClientImpl>(listener);
  TRY(client->Open(loop, std::move(socket)));
  return std::unique_ptr<Client>(std::move(client));
}

}  // namespace msb::sandbox
