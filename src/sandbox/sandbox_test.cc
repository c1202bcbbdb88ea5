// SPDX-License-Identifier: Apache-2.0
// The pure parts: specs, outcomes, gates, the console, QEMU's command line and monitor.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "protocol/stream.h"
#include "sandbox/console_ring.h"
#include "sandbox/outcome_json.h"
#include "sandbox/qemu_command.h"
#include "sandbox/qemu_monitor.h"
#include "sandbox/record_state.h"
#include "sandbox/spec.h"
#include "sandbox/start_clock.h"
#include "sandbox/stream_gate.h"
#include "sandbox/supervisor_cgroup.h"
#include "sandbox/vmm_events.h"

namespace msb::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOf(const Result<void>& result) {
  return result ? "" : result.error().message() + " / " + result.error().remedy();
}

TEST(Spec, NamesTheOptionThatIsWrongAndTheRemedy) {
  SandboxSpec spec;
  EXPECT_TRUE(CheckSpec(spec).ok());
  spec.memory_bytes = 0;
  EXPECT_THAT(ErrorOf(CheckSpec(spec)), testing::AllOf(HasSubstr("--memory"), HasSubstr("64M")));
  spec.memory_bytes = 1024 * kGiB;
  EXPECT_THAT(ErrorOf(CheckSpec(spec)), HasSubstr("this host has"));
  spec.memory_bytes = kGiB;
  for (uint32_t cpus : {0u, 99u}) {
    spec.cpus = cpus;
    EXPECT_THAT(ErrorOf(CheckSpec(spec)), HasSubstr(Cat("--cpus ", cpus)));
  }
  spec.cpus = 1;
  spec.storage_bytes = 1;
  EXPECT_THAT(ErrorOf(CheckSpec(spec)), HasSubstr("--storage"));
  spec.storage_bytes = kGiB;
  spec.cgroup = "user.slice/mine";
  EXPECT_THAT(ErrorOf(CheckSpec(spec)), HasSubstr("--cgroup user.slice/mine"));
  spec.cgroup.clear();
  spec.name = "../up";
  EXPECT_THAT(ErrorOf(CheckSpec(spec)), HasSubstr("--name"));
}

TEST(Spec, SurvivesJsonAlsoWithArgumentsThatAreNotUtf8) {
  SandboxSpec spec;
  spec.name = "web";
  spec.lifetime = Lifetime::kDetached;
  spec.timeout = std::chrono::milliseconds(1500);
  spec.main = protocol::ExecSpec{};
  spec.main->argv = {"printf", "\xff\xfe", "\"quoted\""};
  spec.main->env = {"A=b"};
  auto again = ParseSpec(ToJson(spec));
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->main, spec.main);
  EXPECT_EQ(again->timeout, spec.timeout);
  EXPECT_EQ(again->lifetime, Lifetime::kDetached);
}

TEST(RecordState, IsReadWhereTheWayOfTheCgroupIsNotNoted) {
  RecordState state;
  state.guest_release = "6.12";
  state.cgroup_way = "plain";
  std::string text = ToJson(state);
  EXPECT_EQ(ParseRecordState(text)->cgroup_way, "plain");
  constexpr std::string_view kField = R"("cgroup_way":"plain",)";
  size_t at = text.find(kField);
  ASSERT_NE(at, std::string::npos) << text;
  auto older = ParseRecordState(text.erase(at, kField.size()));
  ASSERT_TRUE(older.ok()) << older.error().message();
  EXPECT_EQ(older->cgroup_way, "");
  EXPECT_EQ(older->guest_release, "6.12");
}

TEST(MachineMemoryLimit, HasRoomForADiskThatLiesInMemory) {
  SandboxSpec spec;
  for (Isolation isolation : {Isolation::kVm, Isolation::kVmEmulated, Isolation::kProcess}) {
    spec.isolation = isolation;
    spec.memory_bytes = 64 * kMiB;
    spec.storage_bytes = 512 * kMiB;
    uint64_t without = MachineMemoryLimit(spec, false);
    EXPECT_GT(without, 64 * kMiB);
    EXPECT_LT(without, 512 * kMiB);
    // The kernel's nodes for its pages too: 576 bytes for 64 of them.
    EXPECT_GE(MachineMemoryLimit(spec, true), without + 512 * kMiB + 512 * kMiB / 4096 * 9);
  }
}

TEST(Outcome, HasTheExitCodesThatScriptsRelyOn) {
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kExited, .code = 3}).ExitCode(), 3);
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kSignaled, .code = 9}).ExitCode(), 137);
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kOutOfMemory, .code = 9}).ExitCode(), 137);
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kTimeout}).ExitCode(), 124);
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kBootFailed}).ExitCode(), 125);
  EXPECT_EQ((Outcome{.kind = OutcomeKind::kMachineDied}).ExitCode(), 120);
  EXPECT_EQ(ExitCode({.reason = protocol::FailReason::kCommandNotFound}), 127);
  EXPECT_EQ(ExitCode({.reason = protocol::FailReason::kNotExecutable}), 126);
  EXPECT_EQ(ExitCode({.reason = protocol::FailReason::kUnknownUser}), 125);
}

TEST(Outcome, EveryKindSurvivesJson) {
  for (int kind = 0; kind <= static_cast<int>(OutcomeKind::kSupervisorDied); kind++) {
    Outcome outcome{.kind = static_cast<OutcomeKind>(kind), .code = kind, .detail = "why"};
    auto message = ParseOutcomeMessage(ToJson(outcome, "{\"id\":\"x\"}"));
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(message->outcome.kind, outcome.kind);
    EXPECT_EQ(message->record_json, "{\"id\":\"x\"}");
  }
}

TEST(OutputGate, PassesOnOnlyWhatIsNew) {
  OutputGate gate;
  ASSERT_TRUE(gate.OnCredit(0, 10).ok());
  EXPECT_EQ(gate.OnData(0, AsBytes("abcd"))->size(), 4u);
  EXPECT_EQ(AsText(*gate.OnData(2, AsBytes("cdef"))), "ef");
  EXPECT_EQ(gate.OnData(0, AsBytes("abcdef"))->size(), 0u);
  EXPECT_FALSE(gate.OnData(7, AsBytes("x")).ok());
  EXPECT_FALSE(gate.OnData(6, AsBytes("ghijk")).ok());
  EXPECT_TRUE(*gate.OnEof(6));
  EXPECT_FALSE(*gate.OnEof(6));
  EXPECT_FALSE(gate.OnEof(5).ok());
  EXPECT_FALSE(gate.OnData(6, AsBytes("g")).ok());
}

TEST(OutputGate, HoldsAClientToOneWindow) {
  OutputGate gate;
  EXPECT_FALSE(gate.OnCredit(0, protocol::kOutputWindow + 1).ok());
  EXPECT_TRUE(gate.OnCredit(0, protocol::kOutputWindow).ok());
  EXPECT_FALSE(gate.OnCredit(1, protocol::kOutputWindow).ok());  // Never received.
  EXPECT_FALSE(gate.OnCredit(0, 5).ok());                        // Goes back.
}

TEST(InputGate, ForgetsWhatWasNotAcknowledgedOnAReconnect) {
  InputGate gate;
  ASSERT_TRUE(gate.OnCredit(0, 100).ok());
  ASSERT_TRUE(gate.OnData(0, AsBytes("0123456789")).ok());
  ASSERT_TRUE(gate.OnCredit(4, 100).ok());
  EXPECT_FALSE(gate.OnData(11, AsBytes("x")).ok());
  gate.Rewind();
  EXPECT_FALSE(gate.OnData(10, AsBytes("x")).ok());
  EXPECT_TRUE(gate.OnData(4, AsBytes("456789")).ok());
  EXPECT_TRUE(gate.OnCredit(10, 110).ok());
  EXPECT_FALSE(gate.OnCredit(11, 110).ok());
  EXPECT_TRUE(gate.OnEof(10).ok());
  EXPECT_FALSE(gate.OnData(10, AsBytes("x")).ok());
}

TEST(ConsoleRing, KeepsTheLastBytesInOrder) {
  ConsoleRing ring(8);
  ring.Append(AsBytes("abcdef"));
  ring.Append(AsBytes("ghij"));
  EXPECT_EQ(ring.Content(), "cdefghij");
  ring.Append(AsBytes("0123456789ABC"));
  EXPECT_EQ(ring.Content(), "56789ABC");
  EXPECT_EQ(ring.total(), 23u);
}

TEST(ConsoleText, KeepsEveryLineEndWhereverTheBytesAreCut) {
  const std::string kGuest = "a\r\n\r\nb \xc3\xa4\r\n";
  EXPECT_EQ(ConsoleText(kGuest), "a\n\nb \xc3\xa4\n");
  for (size_t cut : {0u, 1u, 2u, 3u, 4u, 5u, 9u, 10u})
    EXPECT_EQ(ConsoleText(kGuest.substr(0, cut)) + ConsoleText(kGuest.substr(cut)),
              "a\n\nb \xc3\xa4\n")
        << cut;
  EXPECT_EQ(ConsoleText("\n"), "\n");
  EXPECT_EQ(ConsoleText("x\ry\033[2J\n"), "x\\x0dy\\x1b[2J\n");
}

TEST(ConsoleRing, FindsThePanicAndTheTailAndEscapesBoth) {
  ConsoleRing ring;
  EXPECT_FALSE(ring.PanicLine().has_value());
  ring.Append(
      AsBytes("one\r\ntwo\x1b]0;x\a\n\n[1.5] Kernel panic - not syncing: VFS: no root\r\n"));
  EXPECT_EQ(ring.PanicLine(), "Kernel panic - not syncing: VFS: no root");
  EXPECT_EQ(ring.Tail(2), "two\\x1b]0;x\\x07 | [1.5] Kernel panic - not syncing: VFS: no root");
}

TEST(ConsoleRing, NamesThePanicRatherThanTheOopsAndTheLastOfEach) {
  ConsoleRing ring;
  ring.Append(AsBytes("BUG: first\nBUG: second\n"));
  EXPECT_EQ(ring.PanicLine(), "BUG: second");
  ring.Append(AsBytes("Oops: 0002 [#1]\nKernel panic - not syncing: Fatal exception\n"));
  ring.Append(AsBytes(std::string(8000, 'x') + "\nOops: while dumping"));
  EXPECT_EQ(ring.PanicLine(), "Kernel panic - not syncing: Fatal exception");
}

TEST(ConsoleRing, TroubleOfLongAgoIsNoPanicAtTheEnd) {
  ConsoleRing ring;
  ring.Append(AsBytes("Kernel panic - not syncing: long ago\n"));
  ring.Append(AsBytes(std::string(20'000, 'x') + "\n"));
  EXPECT_FALSE(ring.PanicLine().has_value());
}

TEST(QemuMonitor, KnowsItsEventsAndNoOthers) {
  EXPECT_EQ(
      FindMonitorEvent(
          R"({"timestamp": {"seconds": 1}, "event": "BLOCK_IO_ERROR", "data": {"nospace": true}})"),
      MonitorEvent::kHostStorageFull);
  EXPECT_FALSE(FindMonitorEvent(R"({"event": "BLOCK_IO_ERROR", "data": {"nospace": false}})"));
  EXPECT_FALSE(FindMonitorEvent(R"({"event": "RESET", "data": {"nospace": true}})"));
  EXPECT_EQ(FindMonitorEvent(
                R"({"event": "VSERPORT_CHANGE", "data": {"open": true, "id": "agentport"}})"),
            MonitorEvent::kChannelOpened);
  EXPECT_EQ(FindMonitorEvent(
                R"({"event": "VSERPORT_CHANGE", "data": {"open": false, "id": "agentport"}})"),
            MonitorEvent::kChannelClosed);
  EXPECT_FALSE(
      FindMonitorEvent(R"({"event": "VSERPORT_CHANGE", "data": {"open": false, "id": "other"}})"));
}

TEST(LineCutter, SkipsLinesThatAreTooLong) {
  LineCutter cutter(4);
  std::vector<std::string> lines;
  auto take = [&](std::string_view line) { lines.emplace_back(line); };
  cutter.Feed(AsBytes("ab\nabcdefgh"), take);
  cutter.Feed(AsBytes("ijk\ncd"), take);
  cutter.Feed(AsBytes("\n"), take);
  EXPECT_THAT(lines, ElementsAre("ab", "cd"));
}

TEST(QemuCommand, GivesTheCounterOnlyWhenItIsKnown) {
  MachineSpec spec{.cpus = 1, .memory_bytes = 256 * kMiB, .kernel = {}, .initramfs = {}};
  EXPECT_THAT(KernelCommandLine(spec, 0), testing::Not(HasSubstr("tsc_early_khz")));
  EXPECT_THAT(KernelCommandLine(spec, 2'500'000), HasSubstr("tsc_early_khz=2500000"));
  auto command = QemuCommand("/usr/bin/qemu", spec, {}, 0);
  EXPECT_THAT(command, testing::Contains("256M"));
  EXPECT_THAT(Join(command, " "), HasSubstr("elevateprivileges=deny"));
}

TEST(StartClock, PutsTheGuestsStagesOnOurTimeAndDoesNotBelieveThem) {
  StartClock clock(MonotonicNs() - 10'000'000);
  clock.AddGuestStages({{"kernel", 1'000'000}, {"he\x1bllo", 4'000'000}});
  clock.Mark("x");
  clock.Mark("x");
  ASSERT_EQ(clock.steps().size(), 4u);
  EXPECT_EQ(clock.steps()[1].at_us - clock.steps()[0].at_us, 1000);
  EXPECT_EQ(clock.steps()[2].step, "he\\x1bllo");
  StartClock liar;
  liar.AddGuestStages({{"kernel", UINT64_MAX}});
  EXPECT_GE(liar.steps()[0].at_us, 0);
  EXPECT_LE(liar.steps()[1].at_us, 1'000'000);
}

TEST(VmmEvents, ReadsTheLinesOfTheVmm) {
  using Kind = VmmEvent::Kind;
  EXPECT_EQ(ParseVmmEvent("started\n")->kind, Kind::kStarted);
  EXPECT_EQ(ParseVmmEvent("channel open")->kind, Kind::kChannelOpened);
  EXPECT_EQ(ParseVmmEvent("channel closed")->kind, Kind::kChannelClosed);
  EXPECT_EQ(ParseVmmEvent("storage-full")->kind, Kind::kStorageFull);
  auto end = ParseVmmEvent("end kvm-error KVM_RUN: Bad address\n");
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->end, VmmEnd::kKvmError);
  EXPECT_EQ(end->detail, "KVM_RUN: Bad address");
  EXPECT_EQ(ParseVmmEvent("end guest-reset")->detail, "");
}

TEST(VmmEvents, IgnoresEverythingElse) {
  for (const char* line : {"", "\n", "end", "end ", "end nothing", "channel", "channel opened",
                           "start", "started again", "storage-full now"})
    EXPECT_FALSE(ParseVmmEvent(line).has_value()) << line;
  EXPECT_FALSE(ParseVmmEvent("end internal " + std::string(kVmmLineLimit, 'x')).has_value());
}

}  // namespace
}  // namespace msb::sandbox
