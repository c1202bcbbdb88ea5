// SPDX-License-Identifier: Apache-2.0
// The frames of schema/frames/*.hex are what the codec makes, byte for byte, and what it reads.
// MSB_ACCEPT_GOLDEN=1 writes the files anew and marks the test skipped, so that an accepted run is
// never taken for a passed one.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/bytes.h"
#include "base/text.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace msb::protocol {
namespace {

struct Golden {
  std::string name;
  Header header;
  Bytes body;
};

Bytes Text(std::string_view text) {
  auto bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

ExecSpec SampleSpec() {
  return {.argv = {"python3", "-c", "print(6*7)"},
          .env = {"LANG=C.UTF-8", "EMPTY="},
          .workdir = "/work",
          .user = "1000:100",
          .terminal = true,
          .stdin_open = true,
          .size = {.rows = 50, .columns = 132}};
}

std::vector<Golden> ConnectionFrames() {
  return {
      {"hello_host", {.type = Type::kHello}, Encode(Hello{.epoch = 1})},
      {"hello_agent",
       {.type = Type::kHello},
       Encode(Hello{.epoch = 1,
                    .release = "6.12.0",
                    .stages = {{"kernel", 1000}, {"init", 200'000'000}, {"hello", 250'000'000}}})},
      {"config",
       {.type = Type::kConfig},
       Encode(MachineConfig{.hostname = "box",
                            .realtime_ns = 1'700'000'000'123'456'789,
                            .entropy = "0123456789abcdef",
                            .resolv_conf = "nameserver 192.0.2.1\n"})},
      {"ping", {.type = Type::kPing}, Text("are you there")},
      {"pong", {.type = Type::kPong}, Text("are you there")},
      {"shutdown", {.type = Type::kShutdown}, {}},
      {"goodbye", {.type = Type::kGoodbye}, Text("shutdown")},
  };
}

std::vector<Golden> ExecFrames() {
  return {
      {"exec_open", {.type = Type::kExecOpen, .exec = 1}, Encode(SampleSpec())},
      {"exec_started", {.type = Type::kExecStarted, .exec = 1}, Encode(ExecStarted{.pid = 42})},
      {"exec_failed",
       {.type = Type::kExecFailed, .exec = 2},
       Encode(ExecFailed{.reason = FailReason::kCommandNotFound,
                         .error = 2,
                         .message = "no-such-program: not found in PATH"})},
      {"exec_exit",
       {.type = Type::kExecExit, .exec = 1},
       Encode(ExecExit{.kind = ExitKind::kSignaled,
                       .code = 15,
                       .spawn_to_exit_ns = 1'500'000,
                       .cpu_user_ns = 900'000,
                       .cpu_system_ns = 400'000,
                       .peak_memory_bytes = 1 << 20})},
      {"signal", {.type = Type::kSignal, .exec = 1}, EncodeU32(2)},
      {"resize",
       {.type = Type::kResize, .exec = 1},
       Encode(TerminalSize{.rows = 24, .columns = 80})},
      {"kill", {.type = Type::kKill, .exec = 1}, {}},
      {"hangup", {.type = Type::kHangup, .exec = 1}, {}},
      {"close", {.type = Type::kClose, .exec = 1}, {}},
  };
}

std::vector<Golden> StreamAndControlFrames() {
  return {
      {"data_stdin", {.type = Type::kData, .fd = 0, .exec = 1, .offset = 0}, Text("1 2 3\n")},
      {"data_stderr", {.type = Type::kData, .fd = 2, .exec = 1, .offset = 4096}, Text("oh\n")},
      {"eof", {.type = Type::kEof, .fd = 1, .exec = 1, .offset = 1ull << 32}, {}},
      {"credit", {.type = Type::kCredit, .fd = 1, .exec = 1, .offset = 65536}, EncodeU64(327680)},
      {"reset", {.type = Type::kReset, .fd = 0, .exec = 1}, {}},
      {"console_request", {.type = Type::kConsoleRequest}, {}},
      {"console", {.type = Type::kConsole}, Text("Run /init as init process\n")},
      {"status_request", {.type = Type::kStatusRequest}, {}},
      {"status", {.type = Type::kStatus}, Text(R"({"state":"running"})")},
      {"stop", {.type = Type::kStop}, EncodeU32(10000)},
      {"kill_machine", {.type = Type::kKillMachine}, {}},
      {"outcome", {.type = Type::kOutcome}, Text(R"({"outcome":"stopped"})")},
      {"error",
       {.type = Type::kError, .exec = 3},
       Encode(ErrorBody{.code = static_cast<uint8_t>(Code::kResourceExhausted),
                        .message = "too many execs",
                        .remedy = "wait for one to end"})},
      {"ready", {.type = Type::kReady}, Text(R"({"hello_ms":412})")},
  };
}

std::vector<Golden> AllFrames() {
  auto all = ConnectionFrames();
  for (auto more : {ExecFrames(), StreamAndControlFrames()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

// 32 bytes a line.
std::string ToFile(std::span<const std::byte> bytes) {
  std::string text = Hex(bytes), out;
  for (size_t at = 0; at < text.size(); at += 64) out += text.substr(at, 64) + "\n";
  return out;
}

std::string Path(const std::string& name) {
  return std::string(MSB_GOLDEN_FRAMES) + "/" + name + ".hex";
}

TEST(GoldenFrames, AreWhatTheCodecMakesAndReads) {
  bool accept = std::getenv("MSB_ACCEPT_GOLDEN") != nullptr;
  for (const auto& golden : AllFrames()) {
    SCOPED_TRACE(golden.name);
    std::vector<std::byte> frame;
    AppendFrame(frame, golden.header, golden.body);
    if (accept) {
      std::ofstream(Path(golden.name)) << ToFile(frame);
      continue;
    }
    std::ifstream file(Path(golden.name));
    std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(text, ToFile(frame)) << "MSB_ACCEPT_GOLDEN=1 writes the files anew";

    std::erase(text, '\n');
    auto bytes = ParseHex(text);
    ASSERT_TRUE(bytes.has_value());
    FrameReader reader;
    std::copy(bytes->begin(), bytes->end(), reader.Space().begin());
    reader.Filled(bytes->size());
    auto parsed = reader.Next();
    ASSERT_TRUE(parsed.ok() && parsed->has_value());
    Header expected = golden.header;
    expected.length = static_cast<uint16_t>(golden.body.size());
    EXPECT_EQ((*parsed)->header, expected);
    EXPECT_TRUE(std::equal((*parsed)->body.begin(), (*parsed)->body.end(), golden.body.begin(),
                           golden.body.end()));
    EXPECT_EQ(reader.pending(), 0u);
  }
  if (accept) GTEST_SKIP() << "golden frames written, not compared";
}

TEST(GoldenFrames, SpecReadsBackIntoTheStruct) {
  for (const auto& golden : AllFrames()) {
    if (golden.name != "exec_open") continue;
    EXPECT_EQ(*ParseExecSpec(golden.body), SampleSpec());
  }
}

}  // namespace
}  // namespace msb::protocol
