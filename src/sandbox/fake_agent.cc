// SPDX-License-Identifier: Apache-2.0
// The fake agent speaks the protocol of schema/README.md over its own streams.

#include "sandbox/fake_agent.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {

using protocol::Type;

std::unique_ptr<FakeAgent> FakeAgent::Create(event::Loop& loop, UniqueFd socket) {
  auto agent = std::make_unique<FakeAgent>();
  auto made = FrameSocket::Create(loop, std::move(socket), *agent);
  CHECK(made.ok());
  agent->socket_ = std::move(*made);
  return agent;
}

void FakeAgent::Send(const protocol::Header& header, protocol::ByteSpan body) {
  socket_->Send(header, body);
  socket_->Flush();
}

void FakeAgent::SayHello() {
  protocol::Hello hello{.epoch = epoch, .release = "6.12.fake", .stages = {}};
  hello.stages = {{"kernel", 1'000'000}, {"init", 2'000'000}, {"hello", 3'000'000}};
  Send({.type = Type::kHello}, Encode(hello));
}

void FakeAgent::Reconnect() {
  for (auto& [id, exec] : execs_) {
    exec.out.Rewind();
    exec.err.Rewind();
    exec.in.Rewind();
  }
  SayHello();
}

Result<void> FakeAgent::OnFrame(const protocol::Frame& frame) {
  const auto& header = frame.header;
  if (header.type == Type::kHello) {
    uint64_t old = epoch;
    epoch = TRY(protocol::ParseHello(frame.body)).epoch;
    seen.push_back(Cat("hello ", epoch));
    if (old == 0 && greet) SayHello();
    if (old != 0) PumpAll();
    return {};
  }
  if (header.type == Type::kConfig) {
    config = TRY(protocol::ParseMachineConfig(frame.body));
    return {};
  }
  if (header.type == Type::kShutdown) {
    seen.push_back("shutdown");
    on_shutdown();
    return {};
  }
  if (header.type == Type::kPing) {
    if (answer_pings) Send({.type = Type::kPong}, frame.body);
    return {};
  }
  if (header.type == Type::kExecOpen) {
    Open(header.exec, frame);
    return {};
  }
  auto name = [&](const char* what) { seen.push_back(Cat(what, " ", header.exec)); };
  auto found = execs_.find(header.exec);
  if (header.type == Type::kClose) {
    name("close");
    execs_.erase(header.exec);
    return {};
  }
  if (found == execs_.end()) return {};
  Exec& exec = found->second;
  if (header.type == Type::kCredit) {
    auto& stream = header.fd == 1 ? exec.out : exec.err;
    TRY(stream.OnCredit(header.offset, TRY(protocol::ParseU64(frame.body))));
  } else if (header.type == Type::kData) {
    auto fresh = TRY(exec.in.OnData(header.offset, frame.body));
    CHECK(exec.out.Room() >= fresh.size());  // The tests give cat a reader that keeps up.
    exec.out.Append(fresh);
    exec.in.Consumed(fresh.size());
  } else if (header.type == Type::kEof) {
    TRY(exec.in.OnEof(header.offset));
    exec.dying = true;
  } else if (header.type == Type::kHangup || header.type == Type::kKill) {
    name(header.type == Type::kHangup ? "hangup" : "kill");
    exec.out.Reset();
    exec.err.Reset();
    exec.dying = true;
    exec.left = 0;
  } else if (header.type == Type::kSignal) {
    seen.push_back(Cat("signal ", TRY(protocol::ParseU32(frame.body))));
  }
  Pump(header.exec, exec);
  return {};
}

void FakeAgent::Open(uint32_t id, const protocol::Frame& frame) {
  auto spec = protocol::ParseExecSpec(frame.body);
  CHECK(spec.ok());
  seen.push_back(Cat("open ", id, " ", spec->argv[0]));
  if (execs_.contains(id)) return;
  if (!polite) return;
  if (spec->argv[0] == "missing") {
    Send({.type = Type::kExecFailed, .exec = id},
         Encode(protocol::ExecFailed{protocol::FailReason::kCommandNotFound, 2, "not found"}));
    return;
  }
  Exec& exec = execs_[id];
  exec.argv = spec->argv;
  exec.stdin_open = spec->stdin_open;
  Send({.type = Type::kExecStarted, .exec = id}, Encode(protocol::ExecStarted{.pid = 100 + id}));
  if (exec.argv[0] == "flood") exec.left = *ParseNumber<uint64_t>(exec.argv[1]);
  if (exec.argv[0] == "exit") exec.code = *ParseNumber<int>(exec.argv[1]);
  exec.dying = exec.argv[0] != "cat" && exec.argv[0] != "sleep";
  Pump(id, exec);
}

void FakeAgent::Pump(uint32_t id, Exec& exec) {
  if (exec.stdin_open && !exec.dying) {
    if (auto credit = exec.in.CreditDue()) {
      Send({.type = Type::kCredit, .fd = 0, .exec = id, .offset = credit->consumed},
           protocol::EncodeU64(credit->limit));
      exec.in.CreditSent();
    }
  }
  while (exec.left > 0) {
    auto space = exec.out.Space(static_cast<size_t>(std::min<uint64_t>(exec.left, 30'000)));
    if (space.empty()) break;
    std::fill(space.begin(), space.end(), std::byte{'x'});
    exec.left -= space.size();
    exec.out.Filled(space.size());
  }
  if (exec.dying && exec.left == 0) {
    exec.out.Close();
    exec.err.Close();
  }
  SendStreams(id, 1, exec.out);
  SendStreams(id, 2, exec.err);
  if (exec.dying && exec.out.done() && exec.err.done() && !exec.exit_sent) {
    exec.exit_sent = true;
    Send({.type = Type::kExecExit, .exec = id},
         Encode(protocol::ExecExit{.code = exec.code, .spawn_to_exit_ns = 1000}));
  }
}

void FakeAgent::SendStreams(uint32_t id, uint8_t fd, protocol::SendStream& stream) {
  while (socket_->queued() < 64 * 1024) {
    auto chunk = stream.Next(protocol::kMaxBody);
    if (!chunk) break;
    Send({.type = Type::kData, .fd = fd, .exec = id, .offset = chunk->offset}, chunk->bytes);
    stream.Sent(chunk->bytes.size());
  }
  if (auto end = stream.EofDue()) {
    Send({.type = Type::kEof, .fd = fd, .exec = id, .offset = *end});
    stream.EofSent();
  }
}

void FakeAgent::PumpAll() {
  for (auto& [id, exec] : execs_) Pump(id, exec);
}

Result<MachineFacts> FakeBackend::Start(MachineDescriptors descriptors) {
  agent = FakeAgent::Create(loop_, std::move(descriptors.agent));
  console_ = std::move(descriptors.console);
  return MachineFacts{{"none"}, {}, "fake", 0};
}

Result<void> FakeBackend::Watch(event::Loop&, Watcher& watcher) {
  watcher_ = &watcher;
  return {};
}

void FakeBackend::Print(std::string_view console_text) {
  CHECK(sys::WriteAll(console_, console_text).ok());
}

void FakeBackend::Die(std::string why, bool by_guest) {
  if (std::exchange(dead_, true)) return;
  loop_.Post([this, why, by_guest] {
    agent.reset();
    console_.Reset();
    watcher_->OnMachineEnded({.detail = why, .by_guest = by_guest});
  });
}

}  // namespace msb::sandbox
