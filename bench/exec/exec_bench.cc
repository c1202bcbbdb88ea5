// SPDX-License-Identifier: Apache-2.0
// Two measurements that need a program without start-up noise of its own:
//
//   msb-bench-exec trips SANDBOX ROUNDS      on one open connection to a running sandbox, in turn:
//                                            the echo of one frame, and an exec of `true`
//   msb-bench-exec spawn ROUNDS A... -- B... from vfork to reap of two programs, in turn
//
// Nanoseconds as JSON on stdout; bench/exec/run makes figures of them.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/json_writer.h"
#include "base/text.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "sandbox/sandboxes.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb {
namespace {

using protocol::Type;

int64_t Nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

// A control connection that waits: one request, then its answer.
class Connection {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<void> Send() {
    TRY(sys::WriteAll(socket_, out_));
    out_.clear();
    return {};
  }
  void Add(protocol::Header header, std::span<const std::byte> body = {}) {
    protocol::AppendFrame(out_, header, body);
  }
  // The next frame of this type; others are passed over, an error ends the measurement.
  Result<protocol::Frame> Await(Type type) {
    while (true) {
      auto frame = TRY(reader_.Next());
      if (!frame) {
        size_t count = TRY(sys::ReadSome(socket_, reader_.Space()));
        if (count == 0) return Error(Code::kUnavailable, "the supervisor hung up");
        reader_.Filled(count);
      } else if (frame->header.type == type) {
        return *frame;
      } else if (frame->header.type == Type::kError || frame->header.type == Type::kExecFailed) {
        return Error(Code::kInternal, "the sandbox refused");
      }
    }
  }

 private:
  UniqueFd socket_;
  protocol::FrameReader reader_;
  std::vector<std::byte> out_;
};

struct Samples {
  std::vector<int64_t> echo, exec, inside;
};

Result<int64_t> Echo(Connection& connection) {
  std::array<std::byte, 16> body{};
  auto began = Clock::now();
  connection.Add({.type = Type::kPing}, body);
  TRY(connection.Send());
  TRY(connection.Await(Type::kPong));
  return Nanoseconds(Clock::now() - began);
}

// The wait ends at the last frame of the exec; `inside` is what the agent says that it took itself.
Result<void> Exec(Connection& connection, uint32_t id, Samples& samples) {
  protocol::ExecSpec spec{.argv = {"/bin/true"}};
  auto began = Clock::now();
  connection.Add({.type = Type::kExecOpen, .exec = id}, Encode(spec));
  for (uint8_t fd : {uint8_t{1}, uint8_t{2}})
    connection.Add({.type = Type::kCredit, .fd = fd, .exec = id}, protocol::EncodeU64(65536));
  TRY(connection.Send());
  auto frame = TRY(connection.Await(Type::kExecExit));
  auto took = Nanoseconds(Clock::now() - began);
  auto exit = TRY(protocol::ParseExecExit(frame.body));
  if (exit.kind != protocol::ExitKind::kExited || exit.code != 0)
    return Error(Code::kInternal, "true did not succeed");
  samples.exec.push_back(took);
  samples.inside.push_back(static_cast<int64_t>(exit.spawn_to_exit_ns));
  return {};
}

void Write(JsonWriter& json, std::string_view key, const std::vector<int64_t>& values) {
  json.Key(key).BeginArray();
  for (int64_t value : values) json.Number(value);
  json.EndArray();
}

Result<std::string> Trips(const std::string& sandbox, uint32_t rounds) {
  auto home = TRY(sandbox::Home::Open());
  auto record = TRY(sandbox::FindSandbox(home, sandbox));
  auto socket = TRY(sandbox::Connect(home, record));
  TRY(sys::SetNonBlocking(socket, false));
  Connection connection(std::move(socket));
  connection.Add({.type = Type::kHello}, Encode(protocol::Hello{}));
  TRY(connection.Send());
  TRY(connection.Await(Type::kReady));
  Samples samples;
  for (uint32_t round = 1; round <= rounds; round++) {
    samples.echo.push_back(TRY(Echo(connection)));
    TRY(Exec(connection, round, samples));
  }
  JsonWriter json;
  json.BeginObject();
  Write(json, "echo_ns", samples.echo);
  Write(json, "exec_ns", samples.exec);
  Write(json, "spawn_to_exit_ns", samples.inside);
  json.EndObject();
  return std::move(json).Take();
}

Result<int64_t> SpawnOnce(const std::vector<std::string>& argv, BorrowedFd null) {
  auto began = Clock::now();
  auto child = TRY(sys::Spawn({.argv = argv, .fds = {{null.get(), 1}}}));
  auto exit = TRY(child.Wait(Deadline::Never()));
  auto took = Nanoseconds(Clock::now() - began);
  if (exit.signaled || exit.code != 0) return Error(Code::kInternal, Cat(argv[0], " failed"));
  return took;
}

Result<std::string> Spawns(uint32_t rounds, const std::vector<std::string>& words) {
  auto middle = std::find(words.begin(), words.end(), "--");
  std::vector<std::string> a(words.begin(), middle);
  std::vector<std::string> b(middle == words.end() ? middle : middle + 1, words.end());
  if (a.empty() || b.empty()) return Error(Code::kInvalidArgument, "spawn ROUNDS A... -- B...");
  auto null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_WRONLY));
  std::vector<int64_t> times_a, times_b;
  for (uint32_t round = 0; round < rounds; round++) {
    times_a.push_back(TRY(SpawnOnce(a, null)));
    times_b.push_back(TRY(SpawnOnce(b, null)));
  }
  JsonWriter json;
  json.BeginObject();
  Write(json, "a_ns", times_a);
  Write(json, "b_ns", times_b);
  json.EndObject();
  return std::move(json).Take();
}

Result<std::string> Measure(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "trips") {
    auto rounds = ParseNumber<uint32_t>(words[2]);
    if (rounds) return Trips(words[1], *rounds);
  } else if (words.size() > 3 && words[0] == "spawn") {
    auto rounds = ParseNumber<uint32_t>(words[1]);
    if (rounds) return Spawns(*rounds, {words.begin() + 2, words.end()});
  }
  return Error(Code::kInvalidArgument,
               "usage: msb-bench-exec trips SANDBOX ROUNDS | spawn ROUNDS A... -- B...");
}

}  // namespace
}  // namespace msb

int main(int argc, char** argv) {
  auto result = msb::Measure({argv + 1, argv + argc});
  std::string text = result ? *result : "msb-bench-exec: " + result.error().message();
  (void)msb::sys::WriteAll(msb::BorrowedFd::Raw(result ? 1 : 2), text + "\n");
  return result ? 0 : 1;
}
