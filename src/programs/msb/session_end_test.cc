// SPDX-License-Identifier: Apache-2.0
// Every way to end, as exit code, sentence and status.

#include <gtest/gtest.h>
#include <signal.h>

#include "json/value.h"
#include "programs/msb/session.h"
#include "programs/msb/status_report.h"

namespace msb::cli {
namespace {

using protocol::ExitKind;
using protocol::FailReason;
using sandbox::OutcomeKind;

SessionEnd Exited(ExitKind kind, int code) {
  SessionEnd end;
  end.hello_seen = true;
  end.started = Clock::now();
  end.exit = protocol::ExecExit{.kind = kind, .code = code};
  return end;
}
SessionEnd Failed(FailReason reason) {
  SessionEnd end;
  end.hello_seen = true;
  end.failed = protocol::ExecFailed{.reason = reason, .error = 2, .message = "why"};
  return end;
}
SessionEnd Ended(OutcomeKind kind, bool hello_seen) {
  SessionEnd end;
  end.hello_seen = hello_seen;
  end.outcome = sandbox::Outcome{.kind = kind, .detail = "how"};
  return end;
}

TEST(ExitCode, IsTheProgramsOwn) {
  for (int code : {0, 1, 42, 120, 124, 125, 137, 255})
    EXPECT_EQ(ExitCode(Exited(ExitKind::kExited, code)), code);
}

TEST(ExitCode, Is128AndTheSignal) {
  for (int signal : {SIGHUP, SIGINT, SIGSEGV, SIGTERM, SIGKILL})
    EXPECT_EQ(ExitCode(Exited(ExitKind::kSignaled, signal)), 128 + signal);
}

TEST(ExitCode, OfOutOfMemoryIs137AndNamed) {
  SessionEnd end = Exited(ExitKind::kOutOfMemory, SIGKILL);
  EXPECT_EQ(ExitCode(end), 137);
  ASSERT_TRUE(Explain(end).has_value());
  EXPECT_NE(Explain(end)->message().find("out of memory"), std::string::npos);
  EXPECT_NE(Explain(end)->remedy().find("--memory"), std::string::npos);
}

TEST(ExitCode, OfACommandThatNeverRan) {
  EXPECT_EQ(ExitCode(Failed(FailReason::kCommandNotFound)), 127);
  EXPECT_EQ(ExitCode(Failed(FailReason::kNotExecutable)), 126);
  for (FailReason reason : {FailReason::kUnknownUser, FailReason::kBadWorkdir,
                            FailReason::kResources, FailReason::kInternal})
    EXPECT_EQ(ExitCode(Failed(reason)), 125);
}

TEST(ExitCode, OfASandboxThatEndedFirst) {
  EXPECT_EQ(ExitCode(Ended(OutcomeKind::kTimeout, true)), 124);
  EXPECT_EQ(ExitCode(Ended(OutcomeKind::kMachineDied, true)), 120);
  EXPECT_EQ(ExitCode(Ended(OutcomeKind::kBootFailed, false)), 125);
  EXPECT_EQ(ExitCode(Ended(OutcomeKind::kOutOfMemory, true)), 137);
  EXPECT_EQ(ExitCode(Ended(OutcomeKind::kStopped, true)), 137);
}

TEST(ExitCode, OfASupervisorThatIsGone) {
  SessionEnd end;
  EXPECT_EQ(ExitCode(end), 125);
  end.hello_seen = true;
  EXPECT_EQ(ExitCode(end), 120);
  EXPECT_TRUE(Explain(end).has_value());
}

TEST(ExitCode, OfARefusal) {
  SessionEnd end;
  end.error = Error(Code::kUnavailable, "no");
  EXPECT_EQ(ExitCode(end), 125);
}

TEST(ExitCode, OfASandboxThatEndedWhileItWasAsked) {
  SessionEnd end = Ended(OutcomeKind::kBootFailed, false);
  end.outcome->detail = "no kernel";
  end.error = Error(Code::kFailedPrecondition, "the sandbox is ending");
  EXPECT_EQ(ExitCode(end), 125);
  EXPECT_NE(Explain(end)->message().find("no kernel"), std::string::npos);
  end = Ended(OutcomeKind::kTimeout, true);
  end.error = Error(Code::kFailedPrecondition, "the sandbox is ending");
  EXPECT_EQ(ExitCode(end), 124);
}

TEST(ExitCode, OfAnInterruptedStart) {
  SessionEnd end;
  end.interrupted_by = SIGINT;
  EXPECT_EQ(ExitCode(end), 130);
  EXPECT_FALSE(Explain(end).has_value());
}

TEST(Explain, SaysNothingOfAProgramThatEnded) {
  EXPECT_FALSE(Explain(Exited(ExitKind::kExited, 3)).has_value());
  EXPECT_FALSE(Explain(Exited(ExitKind::kSignaled, 9)).has_value());
}

TEST(Explain, EscapesWhatTheGuestSays) {
  SessionEnd end = Failed(FailReason::kInternal);
  end.failed->message = "x\033[2J";
  EXPECT_EQ(Explain(end)->message().find('\033'), std::string::npos);
}

json::Document Status(const SessionEnd& end) {
  auto document = json::Document::Parse(StatusJson(end, Clock::now()));
  EXPECT_TRUE(document.ok());
  return *std::move(document);
}

TEST(StatusJson, TellsTheExitFromTheSignal) {
  auto exited = Status(Exited(ExitKind::kExited, 137));
  EXPECT_EQ(*exited.root().Field("exit_code")->Integer(), 137);
  auto outcome = *exited.root().Field("outcome");
  EXPECT_EQ(*outcome.Field("kind")->String(), "exited");
  EXPECT_EQ(*outcome.Field("code")->Integer(), 137);
  EXPECT_TRUE(outcome.Field("signal")->is_null());

  auto signaled = Status(Exited(ExitKind::kSignaled, 9));
  EXPECT_EQ(*signaled.root().Field("exit_code")->Integer(), 137);
  outcome = *signaled.root().Field("outcome");
  EXPECT_EQ(*outcome.Field("kind")->String(), "signaled");
  EXPECT_EQ(*outcome.Field("signal")->Integer(), 9);
  EXPECT_TRUE(outcome.Field("code")->is_null());

  auto memory = Status(Exited(ExitKind::kOutOfMemory, 9));
  EXPECT_EQ(*memory.root().Field("outcome")->Field("kind")->String(), "out_of_memory");
}

TEST(StatusJson, HasNullsForWhatNeverWas) {
  SessionEnd end;
  end.error = Error(Code::kNotFound, "no image");
  auto status = Status(end);
  EXPECT_TRUE(status.root().Field("id")->is_null());
  EXPECT_TRUE(status.root().Field("usage")->is_null());
  EXPECT_TRUE(status.root().Field("timings_ns")->Field("started")->is_null());
  EXPECT_EQ(*status.root().Field("outcome")->Field("kind")->String(), "not_started");
  EXPECT_EQ(*status.root().Field("outcome")->Field("detail")->String(), "no image");
}

TEST(StatusJson, CarriesTheStartUpBreakdown) {
  SessionEnd end = Exited(ExitKind::kExited, 0);
  end.record_json =
      R"({"id":"ab12","name":null,"isolation":"vm-emulated","start":[{"step":"hello","at_us":5}]})";
  auto status = Status(end);
  EXPECT_EQ(*status.root().Field("id")->String(), "ab12");
  EXPECT_EQ(*status.root().Field("isolation")->String(), "vm-emulated");
  auto steps = *status.root().Field("startup")->Items();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(*steps[0].Field("step")->String(), "hello");
}

}  // namespace
}  // namespace msb::cli
