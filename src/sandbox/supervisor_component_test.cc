// SPDX-License-Identifier: Apache-2.0
// The supervisor, its relay and the client against a fake machine: real sockets and a real record,
// no guest and no privilege.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"
#include "sandbox/client.h"
#include "sandbox/fake_agent.h"
#include "sandbox/supervisor.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

using std::chrono::milliseconds;
using testing::Contains;
using testing::HasSubstr;

struct TestClient : Client::Listener {
  void OnReady(const std::string&) override { ready = true; }
  void OnStarted(uint32_t exec, uint32_t) override { started.push_back(exec); }
  void OnFailed(uint32_t exec, const protocol::ExecFailed& failed) override {
    ends[exec] = ExitCode(failed);
  }
  void OnOutput(uint32_t exec, int, std::span<const std::byte> bytes) override {
    output[exec] += AsText(bytes);
    if (consume) client->Consumed(exec, 1, bytes.size());
  }
  void OnExit(uint32_t exec, const protocol::ExecExit& exit) override { ends[exec] = exit.code; }
  void OnOutcome(const Outcome& got, const std::string& json) override {
    outcome = got;
    record = json;
  }
  void OnPong(std::span<const std::byte> body) override { pong = std::string(AsText(body)); }
  void OnStatus(const std::string& json) override { record = json; }
  void OnConsole(std::span<const std::byte> bytes) override {
    console += AsText(bytes);
    console_told = bytes.empty();
  }
  void OnError(uint32_t exec, Error error) override { errors[exec] = error.message(); }
  void OnClosed() override { closed = true; }

  std::unique_ptr<Client> client;
  bool ready = false, closed = false, consume = true, console_told = false;
  std::vector<uint32_t> started;
  std::map<uint32_t, int> ends;
  std::map<uint32_t, std::string> output;
  std::map<uint32_t, std::string> errors;
  std::optional<Outcome> outcome;
  std::string record, pong, console;
};

class SupervisorTest : public testing::Test {
 protected:
  SupervisorTest() {
    char path[] = "/tmp/msb-supervisor-test-XXXXXX";
    path_ = ::mkdtemp(path);
    home_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
    loop_ = *event::Loop::Create();
  }
  ~SupervisorTest() override {
    supervisor_.reset();
    EXPECT_TRUE(sys::RemoveTreeAt(sys::Cwd(), path_).ok());
  }

  void Start(SandboxSpec spec = {}, milliseconds boot_deadline = milliseconds(5000)) {
    auto agent = *sys::MakeSocketPair();
    auto console = *sys::MakeSocketPair();
    auto control = *sys::MakeSocketPair();
    auto backend = std::make_unique<FakeBackend>(*loop_);
    machine_ = backend.get();
    SupervisorParts parts;
    parts.spec = spec;
    parts.record = *Record::Create(home_, spec, "abcdefghijkl");
    record_dir_ = *sys::Duplicate(parts.record->dir());
    parts.clock.Mark("spec");
    (void)*backend->Start({.root_disk = {},
                           .upper_disk = {},
                           .agent = std::move(agent.second),
                           .console = std::move(console.second)});
    machine_->agent->greet = greet_;
    parts.backend = std::move(backend);
    parts.agent = std::move(agent.first);
    parts.console = std::move(console.first);
    parts.listener = *sys::ListenAt(parts.record->dir(), kControlSocket);
    parts.control = std::move(control.first);
    parts.boot_deadline = boot_deadline;
    supervisor_ = *Supervisor::Create(*loop_, parts);
    first_.client = *Client::Create(*loop_, std::move(control.second), first_);
  }
  void Connect(TestClient& client) {
    auto socket = sys::ConnectAt(record_dir_, kControlSocket);
    ASSERT_TRUE(socket.ok());
    client.client = *Client::Create(*loop_, std::move(*socket), client);
  }
  // Runs the loop until it is so; false after too long.
  template <class F>
  bool Until(F&& condition) {
    Deadline deadline = Deadline::After(std::chrono::seconds(20));
    while (!condition() && !deadline.Passed())
      (void)loop_->RunOnce(Deadline::After(milliseconds(20)));
    return condition();
  }
  FakeAgent& agent() { return *machine_->agent; }
  bool RecordExists() { return sys::FindAt(home_, "sandboxes/abcdefghijkl")->has_value(); }
  static protocol::ExecSpec Exec(std::vector<std::string> argv, bool stdin_open = false) {
    protocol::ExecSpec spec;
    spec.argv = std::move(argv);
    spec.stdin_open = stdin_open;
    return spec;
  }

  std::string path_;
  UniqueFd home_;
  std::unique_ptr<event::Loop> loop_;
  bool greet_ = true;
  UniqueFd record_dir_;
  FakeBackend* machine_ = nullptr;
  std::unique_ptr<Supervisor> supervisor_;
  TestClient first_;
};

TEST_F(SupervisorTest, RunsAnExecThatWasOpenedBeforeTheHello) {
  Start();
  uint32_t exec = first_.client->OpenExec(Exec({"exit", "7"}));
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  EXPECT_EQ(first_.ends[exec], 7);
  EXPECT_TRUE(first_.ready);
  EXPECT_TRUE(Until([&] { return agent().execs() == 0; }));  // CLOSE has arrived.
}

TEST_F(SupervisorTest, ShowsTheConsoleOfARunningMachine) {
  Start();
  std::string printed;
  // More than a frame, less than is kept.
  for (int i = 0; printed.size() < 100'000; i++) printed += Cat("[", i, "] said the kernel\n");
  for (size_t at = 0; at < printed.size(); at += 4096) {
    machine_->Print(std::string_view(printed).substr(at, 4096));
    (void)loop_->RunOnce(Deadline::After(milliseconds(20)));
  }
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  TestClient second;
  Connect(second);
  second.client->RequestConsole();
  ASSERT_TRUE(Until([&] { return second.console_told; }));
  EXPECT_EQ(second.console, printed);
}

TEST_F(SupervisorTest, CarriesMoreThanEveryWindowBothWays) {
  Start();
  uint32_t exec = first_.client->OpenExec(Exec({"cat"}, true));
  std::string sent(3'000'000, '\0');
  for (size_t i = 0; i < sent.size(); i++) sent[i] = static_cast<char>(i * 7 + i / 251);
  size_t at = 0;
  ASSERT_TRUE(Until([&] {
    size_t room = std::min(first_.client->StdinRoom(exec), sent.size() - at);
    first_.client->WriteStdin(exec, AsBytes(std::string_view(sent).substr(at, room)));
    at += room;
    return first_.output[exec].size() == sent.size();
  }));
  first_.client->CloseStdin(exec);
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  EXPECT_EQ(first_.output[exec], sent);
}

TEST_F(SupervisorTest, ReaderThatStopsStallsOnlyItself) {
  Start();
  TestClient second;
  first_.consume = false;
  uint32_t stuck = first_.client->OpenExec(Exec({"flood", "10000000"}));
  ASSERT_TRUE(Until([&] { return first_.output[stuck].size() == protocol::kOutputWindow; }));
  Connect(second);
  uint32_t other = second.client->OpenExec(Exec({"flood", "10000000"}));
  ASSERT_TRUE(Until([&] { return second.ends.contains(other); }));
  EXPECT_EQ(second.output[other].size(), 10'000'000u);
  EXPECT_EQ(first_.output[stuck].size(), protocol::kOutputWindow);
}

TEST_F(SupervisorTest, DeadClientOfAnExecIsAHangupOfThatExecOnly) {
  Start();
  {
    TestClient second;
    Connect(second);
    second.client->OpenExec(Exec({"sleep"}));
    ASSERT_TRUE(Until([&] { return !second.started.empty(); }));
  }
  ASSERT_TRUE(Until([&] { return agent().execs() == 0; }));
  EXPECT_THAT(agent().seen, Contains("hangup 1"));
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  EXPECT_TRUE(Until([&] { return first_.ends.contains(exec); }));
}

TEST_F(SupervisorTest, EndOfTheFirstClientEndsAnAttachedSandboxAndItsRecord) {
  Start();
  TestClient second;
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  Connect(second);
  first_.client.reset();
  ASSERT_TRUE(Until([&] { return second.closed || second.outcome; }));
  EXPECT_EQ(second.outcome->kind, OutcomeKind::kStopped);
  EXPECT_FALSE(RecordExists());
}

TEST_F(SupervisorTest, DetachedSandboxRunsItsMainCommandAndKeepsLogAndOutcome) {
  SandboxSpec spec;
  spec.lifetime = Lifetime::kDetached;
  spec.main = Exec({"flood", "700000"});
  spec.name = "web";
  Start(spec);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kExited);
  EXPECT_EQ(sys::ReadFileAt(record_dir_, "stdout.log", 1 << 20)->size(), 700'000u);
  auto state = ParseRecordState(*sys::ReadFileAt(record_dir_, kStateFile, 1 << 20));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->state, State::kEnded);
  EXPECT_EQ(state->outcome->kind, OutcomeKind::kExited);
  EXPECT_EQ(*sys::ReadLinkAt(home_, "sandboxes/.names/web"), "abcdefghijkl");
}

TEST_F(SupervisorTest, NoHelloIsABootFailureThatQuotesTheConsole) {
  greet_ = false;
  SandboxSpec spec;
  Start(spec, milliseconds(150));
  machine_->Print("early boot\nVFS: cannot \x1b[2J open root\n");
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kBootFailed);
  EXPECT_THAT(first_.outcome->detail, HasSubstr("last stage: kernel running"));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("VFS: cannot \\x1b[2J open root"));
}

TEST_F(SupervisorTest, ABootFailureNamesTheMachinesOwnLastStage) {
  greet_ = false;
  Start({}, milliseconds(150));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail,
              HasSubstr("last stage: machine started, nothing on its console"));
}

TEST_F(SupervisorTest, ABootFailureTellsWhenTheAgentHadOpenedItsChannel) {
  greet_ = false;
  Start({}, milliseconds(150));
  machine_->watcher()->OnGuestChannel(true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("last stage: agent channel opened"));
}

TEST_F(SupervisorTest, PanicOnTheConsoleIsTheReasonOfADeath) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->Print("[  1.0] Kernel panic - not syncing: Attempted to kill init!\r\nmore\n");
  machine_->Die("the guest reset", true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kMachineDied);
  EXPECT_THAT(first_.outcome->detail, HasSubstr("Attempted to kill init!"));
}

TEST_F(SupervisorTest, GoodbyeThatNobodyAskedForIsADeathWithItsReason) {
  Start();
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  agent().Send({.type = protocol::Type::kGoodbye}, AsBytes("poweroff by root"));
  machine_->Die("reset", true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("poweroff by root"));
  EXPECT_EQ(first_.outcome->ExitCode(), 120);
}

TEST_F(SupervisorTest, GoodbyeBeforeTheFirstCommandIsAFailureToBoot) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  agent().Send({.type = protocol::Type::kGoodbye}, AsBytes("mount root: /proc is a link"));
  machine_->Die("reset", true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("/proc is a link"));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kBootFailed);
}

TEST_F(SupervisorTest, GuestThatClosesItsChannelForGoodHasHalted) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->watcher()->OnGuestChannel(false);
  machine_->watcher()->OnGuestChannel(true);
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  EXPECT_FALSE(first_.outcome.has_value());
  machine_->watcher()->OnGuestChannel(false);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("halted"));
}

TEST_F(SupervisorTest, WhatTheConsoleSaysEndsNoMachine) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  for (std::string said : {"reboot: System halted\r\n", "reboot: Power down\r\n",
                           "Kernel panic - not syncing: says a command\r\n"}) {
    machine_->Print(said);
    auto read = [&] {
      first_.console.clear();
      first_.console_told = false;
      first_.client->RequestConsole();
      (void)Until([&] { return first_.console_told || first_.outcome; });
      return first_.console.ends_with(said) || first_.outcome;
    };
    ASSERT_TRUE(Until(read));
    uint32_t exec = first_.client->OpenExec(Exec({"true"}));
    ASSERT_TRUE(Until([&] { return first_.ends.contains(exec) || first_.outcome; }));
    ASSERT_FALSE(first_.outcome.has_value()) << first_.outcome->detail;
  }
}

TEST_F(SupervisorTest, TroubleOnTheConsoleDoesNotExplainAGoodbye) {
  Start();
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  machine_->Print("[  1.0] BUG: a harmless one\r\n");
  agent().Send({.type = protocol::Type::kGoodbye}, AsBytes("poweroff by root"));
  machine_->Die("reset", true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->detail, "the guest powered itself off: poweroff by root");
}

TEST_F(SupervisorTest, TroubleOnTheConsoleDoesNotExplainAnOrderlyReset) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->watcher()->OnGuestChannel(true);
  machine_->Print("[  1.0] Oops: 0002 [#1]\r\n");
  machine_->watcher()->OnGuestChannel(false);
  machine_->Die("the guest has reset", true);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->detail, "the guest has reset");
}

TEST_F(SupervisorTest, TroubleOnTheConsoleDoesNotExplainAHalt) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->Print("[  1.0] BUG: a harmless one\r\n");
  machine_->watcher()->OnGuestChannel(false);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->detail, "the guest halted itself");
}

TEST_F(SupervisorTest, TroubleOnTheConsoleDoesNotExplainAMachineThatWasKilled) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->Print("[  1.0] BUG: a harmless one\r\n");
  machine_->Die("QEMU was killed by signal 9", false);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->detail, "QEMU was killed by signal 9");
}

TEST_F(SupervisorTest, TimeoutEndsTheSandbox) {
  SandboxSpec spec;
  spec.timeout = milliseconds(100);
  Start(spec);
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kTimeout);
  EXPECT_EQ(first_.outcome->ExitCode(), 124);
}

TEST_F(SupervisorTest, StopAsksTheGuestFirstAndKillsAfterTheGrace) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  first_.client->Stop(milliseconds(100));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("did not stop within"));
}

TEST_F(SupervisorTest, OfTwoWhoAskToStopTheOneInMoreOfAHurryIsHeard) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  first_.client->Stop(std::chrono::minutes(60));
  first_.client->Stop(milliseconds(100));
  first_.client->Stop(std::chrono::minutes(30));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("did not stop within 100"));
}

TEST_F(SupervisorTest, StopWithoutGraceIsAtOnceWhoeverAskedBefore) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  first_.client->Stop(std::chrono::minutes(60));
  first_.client->Stop(milliseconds(0));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kStopped);
}

TEST_F(SupervisorTest, StopOfAGuestThatObeysIsClean) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  agent().on_shutdown = [&] { machine_->Die("reset", true); };
  first_.client->Stop(std::chrono::seconds(60));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kStopped);
}

TEST_F(SupervisorTest, PingGoesToTheAgentAndBack) {
  Start();
  first_.client->Ping(AsBytes("abc"));
  ASSERT_TRUE(Until([&] { return !first_.pong.empty(); }));
  EXPECT_EQ(first_.pong, "abc");
}

TEST_F(SupervisorTest, PingsOfOneClientAreNotCountedAgainstAnother) {
  Start();
  TestClient flooder;
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  agent().answer_pings = false;
  Connect(flooder);
  for (int i = 0; i < 1024; i++) flooder.client->Ping(AsBytes("x"));
  flooder.client->RequestStatus();
  ASSERT_TRUE(Until([&] { return !flooder.record.empty(); }));
  first_.client->Ping(AsBytes("abc"));
  first_.client->RequestStatus();
  EXPECT_TRUE(Until([&] { return !first_.record.empty() || first_.closed; }));
  EXPECT_FALSE(first_.closed);
  flooder.client->Ping(AsBytes("one too many"));
  EXPECT_TRUE(Until([&] { return flooder.closed; }));
  EXPECT_FALSE(first_.closed);
}

TEST_F(SupervisorTest, RefusesWhatAnExecSpecMayNotHold) {
  Start();
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  protocol::ExecSpec bad = Exec({"true"});
  bad.workdir = "relative";
  uint32_t refused = first_.client->OpenExec(bad);
  ASSERT_TRUE(Until([&] { return first_.errors.contains(refused); }));
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
}

TEST_F(SupervisorTest, FullHostIsNamedAsTheOutcome) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  machine_->watcher()->OnHostStorageFull();
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kHostStorageFull);
}

TEST_F(SupervisorTest, SixtyFourExecsAtOnceDoNotMix) {
  Start();
  std::vector<uint32_t> execs;
  for (int i = 0; i < 64; i++)
    execs.push_back(first_.client->OpenExec(Exec({"flood", Cat(100'000 + i)})));
  ASSERT_TRUE(Until([&] { return first_.ends.size() == 64; }));
  for (size_t i = 0; i < 64; i++) EXPECT_EQ(first_.output[execs[i]].size(), 100'000 + i);
}

TEST_F(SupervisorTest, OutputSurvivesAReconnectOfTheAgent) {
  Start();
  first_.consume = false;
  uint32_t exec = first_.client->OpenExec(Exec({"flood", "800000"}));
  ASSERT_TRUE(Until([&] { return first_.output[exec].size() == protocol::kOutputWindow; }));
  agent().Reconnect();
  ASSERT_TRUE(Until([&] { return agent().epoch == 2; }));
  first_.consume = true;
  first_.client->Consumed(exec, 1, first_.output[exec].size());
  ASSERT_TRUE(Until([&] { return first_.ends.contains(exec); }));
  EXPECT_EQ(first_.output[exec].size(), 800'000u);
}

// What a hostile guest may try: each ends its own machine, with a reason, and nothing else.
struct Attack {
  const char* name;
  protocol::Header header;
  std::string body;
};

class HostileAgentTest : public SupervisorTest, public testing::WithParamInterface<Attack> {};

TEST_P(HostileAgentTest, EndsItsMachine) {
  Start();
  first_.client->OpenExec(Exec({"sleep"}, true));
  ASSERT_TRUE(Until([&] { return !first_.started.empty(); }));
  agent().Send(GetParam().header, AsBytes(GetParam().body));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_EQ(first_.outcome->kind, OutcomeKind::kMachineDied);
  EXPECT_THAT(first_.outcome->detail, HasSubstr("the agent broke the protocol"));
}

using protocol::Type;
INSTANTIATE_TEST_SUITE_P(
    Attacks, HostileAgentTest,
    testing::Values(
        Attack{"UnknownExec", {.type = Type::kExecStarted, .exec = 99}, std::string(4, 'a')},
        Attack{"GapInOutput", {.type = Type::kData, .fd = 1, .exec = 1, .offset = 5}, "x"},
        Attack{"OffsetOverflow",
               {.type = Type::kData, .fd = 1, .exec = 1, .offset = UINT64_MAX},
               "xx"},
        Attack{"EmptyData", {.type = Type::kData, .fd = 1, .exec = 1}, ""},
        Attack{"DataOnStdin", {.type = Type::kData, .fd = 0, .exec = 1}, "x"},
        Attack{"WrongEnd", {.type = Type::kEof, .fd = 1, .exec = 1, .offset = 9}, ""},
        Attack{"ShortCredit", {.type = Type::kCredit, .fd = 0, .exec = 1}, "x"},
        Attack{"CreditBeyondSent",
               {.type = Type::kCredit, .fd = 0, .exec = 1, .offset = 77},
               std::string(8, 'a')},
        Attack{"ShortExit", {.type = Type::kExecExit, .exec = 1}, "xx"},
        Attack{"ControlFrame", {.type = Type::kKillMachine}, ""},
        Attack{"HostFrame", {.type = Type::kExecOpen, .exec = 1}, "x"},
        Attack{"PongUnasked", {.type = Type::kPong}, "x"},
        Attack{"BadHello", {.type = Type::kHello}, "x"}),
    [](const auto& attack) { return std::string(attack.param.name); });

TEST_F(SupervisorTest, FloodBeyondTheCreditEndsTheMachine) {
  Start();
  first_.consume = false;
  first_.client->OpenExec(Exec({"sleep"}));
  ASSERT_TRUE(Until([&] { return !first_.started.empty(); }));
  std::string piece(30'000, 'x');
  for (uint64_t at = 0; at <= protocol::kOutputWindow; at += piece.size())
    agent().Send({.type = Type::kData, .fd = 1, .exec = 1, .offset = at}, AsBytes(piece));
  ASSERT_TRUE(Until([&] { return first_.outcome.has_value(); }));
  EXPECT_THAT(first_.outcome->detail, HasSubstr("beyond the credit"));
}

TEST_F(SupervisorTest, FaultOfAClientEndsItsConnectionOnly) {
  Start();
  TestClient second;
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  auto socket = *sys::ConnectAt(record_dir_, kControlSocket);
  std::vector<std::byte> bytes;
  protocol::AppendFrame(bytes, {.type = Type::kHello}, Encode(protocol::Hello{}));
  protocol::AppendFrame(bytes, {.type = Type::kConfig}, AsBytes("x"));
  ASSERT_TRUE(sys::WriteAll(socket, bytes).ok());
  ASSERT_TRUE(sys::SetNonBlocking(socket, true).ok());
  std::string answer;
  ASSERT_TRUE(Until([&] {
    std::byte buffer[4096];
    auto count = sys::ReadSome(socket, buffer);
    if (count) answer += AsText(std::span(buffer).first(*count));
    return count && *count == 0;
  }));
  EXPECT_THAT(answer, HasSubstr("from a client"));
  uint32_t exec = first_.client->OpenExec(Exec({"true"}));
  EXPECT_TRUE(Until([&] { return first_.ends.contains(exec); }));
}

TEST_F(SupervisorTest, WhoeverFindsNoRoomHearsWhy) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  std::vector<UniqueFd> others;
  std::string answer;
  for (int i = 0; i < 200 && answer.empty(); i++) {
    others.push_back(*sys::ConnectAt(record_dir_, kControlSocket));
    ASSERT_TRUE(sys::SetNonBlocking(others.back(), true).ok());
    std::byte buffer[4096];
    Result<size_t> count = Error::Errno("nothing", EAGAIN);
    ASSERT_TRUE(Until([&] { return count || (count = sys::ReadSome(others.back(), buffer)); }));
    std::string said(AsText(std::span(buffer).first(*count)));
    if (said.find("as many as it takes") != std::string::npos) answer = said;
  }
  EXPECT_THAT(answer, HasSubstr("wait for some of the commands"));
  others.clear();
  for (int i = 0; i < 20; i++) (void)loop_->RunOnce(Deadline::After(milliseconds(10)));
  TestClient second;
  Connect(second);
  EXPECT_TRUE(Until([&] { return second.ready; }));
}

TEST_F(SupervisorTest, WhoeverAsksForMoreThanHeReadsIsLetGo) {
  Start();
  ASSERT_TRUE(Until([&] { return first_.ready; }));
  std::string line(1023, 'x');
  for (int i = 0; i < 300; i++) {
    machine_->Print(line + "\n");
    (void)loop_->RunOnce(Deadline::After(milliseconds(20)));
  }
  auto socket = *sys::ConnectAt(record_dir_, kControlSocket);
  std::vector<std::byte> bytes;
  protocol::AppendFrame(bytes, {.type = Type::kHello}, Encode(protocol::Hello{}));
  for (int i = 0; i < 1000; i++) protocol::AppendFrame(bytes, {.type = Type::kConsoleRequest});
  ASSERT_TRUE(sys::SetNonBlocking(socket, true).ok());
  ASSERT_TRUE(sys::WriteAll(socket, bytes).ok());
  for (int i = 0; i < 50; i++) (void)loop_->RunOnce(Deadline::After(milliseconds(10)));
  size_t received = 0;
  ASSERT_TRUE(Until([&] {
    std::vector<std::byte> buffer(1 << 20);
    auto count = sys::ReadSome(socket, buffer);
    if (count) received += *count;
    return count ? *count == 0 : count.error().sys_errno() != EAGAIN;
  }));
  EXPECT_LT(received, size_t{6} << 20);
}

}  // namespace
}  // namespace msb::sandbox
