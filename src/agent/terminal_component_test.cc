// SPDX-License-Identifier: Apache-2.0
// Execs on a terminal: size, resize, control characters, jobs, end of input.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/test_host.h"

namespace msb::agent {
namespace {

using ::testing::HasSubstr;

protocol::ExecSpec Terminal(std::string script) {
  auto spec = Shell(std::move(script));
  spec.terminal = true;
  spec.stdin_open = true;
  spec.size = {.rows = 33, .columns = 99};
  return spec;
}

class TerminalTest : public ::testing::Test {
 protected:
  void WaitFor(uint32_t id, const std::string& text) {
    host.Until([&] {
      return host.exec(id).output[1].find(text) != std::string::npos || host.exec(id).ended();
    });
    EXPECT_THAT(host.exec(id).output[1], HasSubstr(text));
  }
  std::string WaitForEnd(uint32_t id) {
    host.Until([&] { return host.exec(id).ended(); });
    return TestHost::End(host.exec(id));
  }
  TestHost host;
};

TEST_F(TerminalTest, IsOneOfTheSizeThatWasAsked) {
  uint32_t id = host.Open(Terminal("stty size; test -t 0 && test -t 1 && test -t 2 && exit 3"));
  EXPECT_EQ(WaitForEnd(id), "exit 3");
  EXPECT_EQ(host.exec(id).output[1], "33 99\r\n");
}

TEST_F(TerminalTest, ResizeSignalsTheProcess) {
  uint32_t id = host.Open(
      Terminal("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done"));
  WaitFor(id, "ready");
  host.Send({.type = protocol::Type::kResize, .exec = id},
            Encode(protocol::TerminalSize{.rows = 11, .columns = 22}));
  WaitFor(id, "11 22");
}

TEST_F(TerminalTest, ControlCInterruptsTheForegroundJob) {
  // The job itself says that it runs: a signal between fork and exec would meet the shell's trap in
  // the child, and be lost.
  uint32_t id =
      host.Open(Terminal("trap 'echo trapped' INT; sh -c 'echo ready; exec sleep 100'; exit 5"));
  WaitFor(id, "ready");
  host.Input(id, "\x03");
  EXPECT_EQ(WaitForEnd(id), "exit 5");
  EXPECT_THAT(host.exec(id).output[1], HasSubstr("trapped"));
}

TEST_F(TerminalTest, AShellHasJobControl) {
  protocol::ExecSpec spec = Terminal("");
  spec.argv = {"/bin/bash", "--norc", "--noprofile", "-i"};
  spec.env = {"PS1=$ ", "TERM=dumb"};
  uint32_t id = host.Open(spec);
  WaitFor(id, "$ ");
  // Once it speaks, the shell has put it in front.
  host.Input(id, "sh -c 'echo up; exec sleep 100'\n");
  WaitFor(id, "\r\nup");
  host.Input(id, "\x1a");
  WaitFor(id, "Stopped");
  // The first exit may only warn of the job that has just been killed.
  host.Input(id, "jobs; kill -9 %1\nexit 8\nexit 8\n");
  std::string end = WaitForEnd(id);
  EXPECT_EQ(end, "exit 8") << host.exec(id).output[1];
}

TEST_F(TerminalTest, EndOfInputIsTypedAsControlD) {
  uint32_t id = host.Open(Terminal("cat; echo over; exit 4"));
  host.Input(id, "line\n");
  host.CloseInput(id);
  EXPECT_EQ(WaitForEnd(id), "exit 4");
  EXPECT_THAT(host.exec(id).output[1], HasSubstr("over"));
}

TEST_F(TerminalTest, EndOfInputInTheMiddleOfALineStillEnds) {
  uint32_t id = host.Open(Terminal("cat; exit 4"));
  host.Input(id, "no newline");
  host.CloseInput(id);
  EXPECT_EQ(WaitForEnd(id), "exit 4");
}

TEST_F(TerminalTest, SignalsGoToTheForegroundJob) {
  uint32_t id = host.Open(Terminal("set -m; trap '' INT; echo ready; sleep 100; echo $?; exit 7"));
  WaitFor(id, "ready");
  // Until the shell has put the job in front, the signal is for the shell, which ignores it.
  auto deadline = Deadline::After(std::chrono::seconds(20));
  while (!host.exec(id).ended() && !deadline.Passed()) {
    host.Signal(id, 15);
    auto next = Deadline::After(std::chrono::milliseconds(20));
    host.Until([&] { return next.Passed() || host.exec(id).ended(); });
  }
  EXPECT_THAT(TestHost::End(host.exec(id)), ::testing::AnyOf("exit 7", "signal 15"));
}

TEST_F(TerminalTest, EverythingWrittenBeforeTheExitArrives) {
  uint32_t id = host.Open(Terminal("seq 1 20000"));
  EXPECT_EQ(WaitForEnd(id), "exit 0");
  EXPECT_EQ(host.exec(id).output[1].size(), 108894u + 20000u);
  EXPECT_TRUE(host.exec(id).output[1].ends_with("\n20000\r\n"));
}

TEST_F(TerminalTest, ABackgroundProcessDoesNotHoldTheExec) {
  uint32_t id = host.Open(Terminal("(trap '' HUP; sleep 3) & echo main; exit 2"));
  EXPECT_EQ(WaitForEnd(id), "exit 2");
  EXPECT_THAT(host.exec(id).output[1], HasSubstr("main"));
}

TEST_F(TerminalTest, HangupEndsTheShell) {
  uint32_t id = host.Open(Terminal("echo ready; cat"));
  WaitFor(id, "ready");
  host.Hangup(id);
  EXPECT_EQ(WaitForEnd(id), "signal 1");
}

}  // namespace
}  // namespace msb::agent
