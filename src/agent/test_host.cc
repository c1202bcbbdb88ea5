// SPDX-License-Identifier: Apache-2.0
// The host's side, as simple as it can be.

#include "agent/test_host.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::agent {

using protocol::Type;

TestHost::TestHost(std::unique_ptr<ExecGroups> groups) {
  // As the agent does with all signals.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  loop_ = *event::Loop::Create();
  accounts_ = std::make_unique<Accounts>(*sys::OpenAt(sys::Cwd(), "/", O_RDONLY | O_DIRECTORY));
  groups_ = groups != nullptr ? std::move(groups) : MakeProcessGroups();
  session_ = std::make_unique<Session>(*loop_, *this, *groups_, *accounts_);
  reaper_ = *Reaper::Create(
      *loop_,
      [this](pid_t pid, int status, const struct rusage& usage) {
        session_->OnChildExit(pid, status, usage);
      },
      [this] { session_->Flush(); });
  Connect();
}

TestHost::~TestHost() {
  for (auto& [id, exec] : execs_) {
    if (exec.ended()) continue;
    Send({.type = Type::kKill, .exec = id});
    Pause(id, 1, false);
    Pause(id, 2, false);
  }
  Until([this] {
    return std::all_of(execs_.begin(), execs_.end(),
                       [](auto& entry) { return entry.second.ended(); });
  });
}

void TestHost::Connect() {
  auto pair = *sys::MakeSocketPair();
  CHECK(sys::SetNonBlocking(pair.first, true).ok() && sys::SetNonBlocking(pair.second, true).ok());
  socket_ = std::move(pair.first);
  reader_.Reset();
  outgoing_.clear();
  greeted_ = false;
  cut_ = false;
  to_agent_left_ = from_agent_left_ = SIZE_MAX;
  CHECK(session_->Attach(std::move(pair.second)).ok());
  Greet();
}

void TestHost::Greet() {
  Send({.type = Type::kHello}, Encode(protocol::Hello{.epoch = ++epoch_}));
  for (auto& [id, exec] : execs_) {
    if (exec.ended()) continue;
    if (!exec.pid) Send({.type = Type::kExecOpen, .exec = id}, Encode(exec.spec));
    for (auto& stream : exec.receive) stream.Rewind();
    exec.input.Rewind();
  }
}

void TestHost::Reconnect() {
  session_->Detach();
  Connect();
}

void TestHost::CutAfter(size_t to_agent, size_t from_agent) {
  to_agent_left_ = to_agent;
  from_agent_left_ = from_agent;
}

void TestHost::Send(const protocol::Header& header, protocol::ByteSpan body) {
  AppendFrame(outgoing_, header, body);
}

uint32_t TestHost::Open(protocol::ExecSpec spec) {
  // Without privilege a process can be started as ourselves only.
  if (spec.user.empty()) spec.user = Cat(::geteuid(), ":", ::getegid());
  uint32_t id = next_id_++;
  Send({.type = Type::kExecOpen, .exec = id}, Encode(spec));
  execs_[id].spec = std::move(spec);
  return id;
}

void TestHost::Input(uint32_t id, std::string bytes) { exec(id).to_send += bytes; }
void TestHost::CloseInput(uint32_t id) { exec(id).close_input = true; }

void TestHost::Signal(uint32_t id, uint32_t number) {
  Send({.type = Type::kSignal, .exec = id}, protocol::EncodeU32(number));
}

void TestHost::Hangup(uint32_t id) {
  exec(id).hung_up = true;
  Send({.type = Type::kHangup, .exec = id});
}

void TestHost::Pause(uint32_t id, uint8_t fd, bool on) {
  auto& exec = execs_.at(id);
  exec.paused[fd] = on;
  if (!on) exec.receive[fd].Consumed(exec.receive[fd].received() - exec.receive[fd].consumed());
}

void TestHost::Close(uint32_t id) {
  Send({.type = Type::kClose, .exec = id});
  execs_.erase(id);
}

void TestHost::Take(const protocol::Frame& frame) {
  const auto& header = frame.header;
  if (header.type == Type::kHello) {
    ++hellos;
    greeted_ = true;
    return;
  }
  if (header.type == Type::kPong) ++pongs;
  auto found = execs_.find(header.exec);
  if (found == execs_.end()) return;
  HostExec& exec = found->second;
  if (header.type == Type::kExecStarted) {
    exec.pid = protocol::ParseExecStarted(frame.body)->pid;
  } else if (header.type == Type::kExecFailed) {
    exec.failed = *protocol::ParseExecFailed(frame.body);
  } else if (header.type == Type::kExecExit) {
    EXPECT_TRUE(exec.hung_up || exec.receive[1].eof_received()) << "the exit came first";
    EXPECT_TRUE(exec.hung_up || exec.spec.terminal || exec.receive[2].eof_received());
    exec.exit = *protocol::ParseExecExit(frame.body);
  } else if (header.type == Type::kData) {
    auto fresh = exec.receive[header.fd].OnData(header.offset, frame.body);
    ASSERT_TRUE(fresh.ok()) << fresh.error().message();
    exec.output[header.fd] += AsText(*fresh);
    if (!exec.paused[header.fd]) exec.receive[header.fd].Consumed(fresh->size());
  } else if (header.type == Type::kEof) {
    ASSERT_TRUE(exec.receive[header.fd].OnEof(header.offset).ok());
  } else if (header.type == Type::kCredit) {
    ASSERT_TRUE(exec.input.OnCredit(header.offset, *protocol::ParseU64(frame.body)).ok());
    exec.input_read = header.offset;
  } else if (header.type == Type::kReset) {
    exec.input.Reset();
    exec.input_reset = true;
  }
}

void TestHost::Produce() {
  for (auto& [id, exec] : execs_) {
    if (exec.ended()) continue;
    for (uint8_t fd : {uint8_t{1}, uint8_t{2}}) {
      auto credit = exec.receive[fd].CreditDue();
      if (!credit) continue;
      Send({.type = Type::kCredit, .fd = fd, .exec = id, .offset = credit->consumed},
           protocol::EncodeU64(credit->limit));
      exec.receive[fd].CreditSent();
    }
    size_t count = std::min(exec.input.Room(), exec.to_send.size());
    exec.input.Append(AsBytes(std::string_view(exec.to_send).substr(0, count)));
    exec.to_send.erase(0, count);
    if (exec.close_input && exec.to_send.empty()) exec.input.Close();
    while (auto chunk = exec.input.Next(protocol::kMaxBody)) {
      Send({.type = Type::kData, .exec = id, .offset = chunk->offset}, chunk->bytes);
      exec.input.Sent(chunk->bytes.size());
    }
    if (auto end = exec.input.EofDue()) {
      Send({.type = Type::kEof, .exec = id, .offset = *end});
      exec.input.EofSent();
    }
  }
}

void TestHost::ReadFrames() {
  while (socket_) {
    auto space = reader_.Space();
    space = space.first(std::min(space.size(), from_agent_left_));
    ssize_t n = space.empty() ? 0 : ::recv(socket_.get(), space.data(), space.size(), 0);
    if (n < 0) return;
    if (n == 0) {
      cut_ = true;
      socket_.Reset();
      return;
    }
    reader_.Filled(static_cast<size_t>(n));
    if (from_agent_left_ != SIZE_MAX) from_agent_left_ -= static_cast<size_t>(n);
    while (true) {
      auto frame = reader_.Next();
      ASSERT_TRUE(frame.ok());
      if (!frame->has_value()) break;
      Take(**frame);
    }
  }
}

void TestHost::Step() {
  ReadFrames();
  if (greeted_) Produce();
  while (socket_ && !outgoing_.empty()) {
    size_t count = std::min(outgoing_.size(), to_agent_left_);
    if (count == 0) {
      cut_ = true;
      socket_.Reset();
      break;
    }
    ssize_t n = ::send(socket_.get(), outgoing_.data(), count, MSG_NOSIGNAL);
    if (n <= 0) break;
    if (to_agent_left_ != SIZE_MAX) to_agent_left_ -= static_cast<size_t>(n);
    outgoing_.erase(outgoing_.begin(), outgoing_.begin() + n);
  }
}

bool TestHost::Until(const std::function<bool()>& done) {
  auto deadline = Deadline::After(std::chrono::seconds(30));
  while (!done()) {
    if (deadline.Passed()) {
      ADD_FAILURE() << "not within 30 s; " << disconnected;
      return false;
    }
    Step();
    bool waiting = outgoing_.empty();
    CHECK(loop_->RunOnce(Deadline::After(std::chrono::milliseconds(waiting ? 2 : 0))).ok());
  }
  return true;
}

HostExec TestHost::Run(protocol::ExecSpec spec, std::string input) {
  uint32_t id = Open(std::move(spec));
  Input(id, std::move(input));
  CloseInput(id);
  Until([&] { return exec(id).ended(); });
  HostExec result = std::move(exec(id));
  Close(id);
  return result;
}

std::string TestHost::End(const HostExec& exec) {
  if (exec.failed) return Cat("failed ", static_cast<int>(exec.failed->reason));
  if (!exec.exit) return "running";
  if (exec.exit->kind == protocol::ExitKind::kOutOfMemory) return "oom";
  return Cat(exec.exit->kind == protocol::ExitKind::kExited ? "exit " : "signal ", exec.exit->code);
}

}  // namespace msb::agent
