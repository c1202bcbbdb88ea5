// SPDX-License-Identifier: Apache-2.0
// Bytes through a session: many execs at once, readers that stop, connections that are cut.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "agent/test_host.h"
#include "base/text.h"

namespace msb::agent {
namespace {

std::string Noise(size_t count, uint32_t seed) {
  std::string bytes(count, 0);
  for (auto& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<char>(seed >> 24);
  }
  return bytes;
}

protocol::ExecSpec Cat16() { return {.argv = {"/bin/cat"}, .stdin_open = true}; }

TEST(SessionStreams, SixteenMebibytesComeBackAsTheyWere) {
  TestHost host;
  std::string bytes = Noise(16 << 20, 1);
  auto exec = host.Run(Cat16(), bytes);
  EXPECT_EQ(TestHost::End(exec), "exit 0");
  // Not EXPECT_EQ: a failure would print both.
  EXPECT_TRUE(exec.output[1] == bytes);
}

TEST(SessionStreams, SixtyFourExecsAtOnceDoNotMix) {
  TestHost host;
  std::map<uint32_t, std::string> expected;
  for (uint32_t i = 0; i < 64; ++i) {
    uint32_t id = host.Open(Cat16());
    expected[id] = Noise(50000 + i * 1000, i);
    host.Input(id, expected[id]);
    host.CloseInput(id);
  }
  host.Until([&] {
    for (const auto& [id, bytes] : expected)
      if (!host.exec(id).ended()) return false;
    return true;
  });
  for (const auto& [id, bytes] : expected) EXPECT_TRUE(host.exec(id).output[1] == bytes) << id;
}

TEST(SessionStreams, AReaderThatStopsStallsNobodyElse) {
  TestHost host;
  uint32_t stopped = host.Open(Shell("cat /dev/zero"));
  host.Pause(stopped, 1, true);
  host.Until([&] { return host.exec(stopped).output[1].size() == protocol::kDefaultWindow; });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(TestHost::End(host.Run(Shell("echo; exit 4"))), "exit 4");
  std::string bytes = Noise(1 << 20, 2);
  EXPECT_TRUE(host.Run(Cat16(), bytes).output[1] == bytes);
  EXPECT_EQ(host.exec(stopped).output[1].size(), protocol::kDefaultWindow);
}

// More than the agent likes to hold in all, of readers that do not read.
TEST(SessionStreams, ManyReadersThatStopStallNobodyElse) {
  TestHost host;
  std::vector<uint32_t> stopped;
  for (int i = 0; i < 40; ++i) {
    stopped.push_back(host.Open(Shell("cat /dev/zero")));
    host.Pause(stopped.back(), 1, true);
  }
  host.Until([&] {
    return std::ranges::all_of(stopped, [&](uint32_t id) {
      return host.exec(id).output[1].size() == protocol::kDefaultWindow;
    });
  });
  // With the largest window, of which a half is acknowledged at the earliest.
  uint32_t reads = host.Open(Shell("head -c 2000000 /dev/zero"));
  host.exec(reads).receive[1] = protocol::ReceiveStream(protocol::kOutputWindow);
  host.Until([&] { return host.exec(reads).ended(); });
  EXPECT_EQ(host.exec(reads).output[1].size(), 2000000u);
}

TEST(SessionStreams, AProcessThatDoesNotReadStallsNobodyElse) {
  TestHost host;
  auto spec = Shell("exec sleep 100");
  spec.stdin_open = true;
  uint32_t id = host.Open(spec);
  host.Input(id, std::string(1 << 20, 'x'));
  host.Until([&] { return host.exec(id).input.appended() >= protocol::kDefaultWindow; });
  EXPECT_EQ(TestHost::End(host.Run(Shell("exit 4"))), "exit 4");
  // What the pipe took is acknowledged, and no more than a window beyond that was asked for.
  EXPECT_LE(host.exec(id).input.appended(), 2 * protocol::kDefaultWindow);
}

TEST(SessionStreams, TheExitWaitsForOutputThatHasNoCredit) {
  TestHost host;
  uint32_t id = host.Open(Shell("head -c 320000 /dev/zero"));
  host.Pause(id, 1, true);
  host.Until([&] { return host.exec(id).output[1].size() == protocol::kDefaultWindow; });
  EXPECT_EQ(TestHost::End(host.exec(id)), "running");
  host.Pause(id, 1, false);
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(host.exec(id).output[1].size(), 320000u);
}

TEST(SessionStreams, ManyExecsInSequenceLeaveNothing) {
  TestHost host;
  for (int i = 0; i < 300; ++i)
    EXPECT_EQ(TestHost::End(host.Run({.argv = {"/bin/true"}})), "exit 0");
  host.Send({.type = protocol::Type::kPing});
  host.Until([&] { return host.pongs == 1; });
  EXPECT_EQ(host.session().execs(), 0u);
  EXPECT_EQ(host.session().drains(), 0u);
}

TEST(SessionStreams, TooManyExecsAreRefusedByName) {
  TestHost host;
  std::vector<uint32_t> ids;
  for (size_t i = 0; i < kMaxExecs; ++i) ids.push_back(host.Open({.argv = {"/no/such"}}));
  uint32_t last = host.Open({.argv = {"/no/such"}});
  host.Until([&] { return host.exec(last).ended(); });
  EXPECT_EQ(TestHost::End(host.exec(last)), "failed 5");
  EXPECT_EQ(TestHost::End(host.exec(ids.back())), "failed 1");
  host.Close(ids[0]);
  host.Close(last);
  EXPECT_EQ(TestHost::End(host.Run(Shell("exit 2"))), "exit 2");
}

// One exchange of every kind, cut after any number of bytes in either direction, then continued.
void ExpectSurvives(size_t to_agent, size_t from_agent) {
  SCOPED_TRACE(Cat("cut after ", to_agent, " to the agent or ", from_agent, " from it"));
  TestHost host;
  host.CutAfter(to_agent, from_agent);
  auto spec = Shell("cat; echo oh >&2; exit 6");
  spec.stdin_open = true;
  std::string bytes = Noise(300, 7);
  uint32_t id = host.Open(spec);
  host.Input(id, bytes);
  host.CloseInput(id);
  host.Until([&] { return host.exec(id).ended() || host.cut(); });
  if (host.cut()) host.Reconnect();
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_TRUE(host.exec(id).output[1] == bytes);
  EXPECT_EQ(host.exec(id).output[2], "oh\n");
  EXPECT_EQ(TestHost::End(host.exec(id)), "exit 6");
}

TEST(SessionStreams, AConnectionCutAtAnyByteLosesAndDoublesNothing) {
  for (size_t bytes = 0; bytes < 560; bytes += 11) ExpectSurvives(bytes, SIZE_MAX);
  for (size_t bytes = 0; bytes < 560; bytes += 11) ExpectSurvives(SIZE_MAX, bytes);
}

TEST(SessionStreams, ReconnectingInTheMiddleOfAFloodLosesNothing) {
  TestHost host;
  std::string bytes = Noise(4 << 20, 3);
  uint32_t id = host.Open(Cat16());
  host.Input(id, bytes);
  host.CloseInput(id);
  for (size_t at = 100000; at < bytes.size(); at += 611953) {
    host.Until([&] { return host.exec(id).output[1].size() >= at || host.exec(id).ended(); });
    host.Reconnect();
  }
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_TRUE(host.exec(id).output[1] == bytes);
  EXPECT_GE(host.hellos, 6);
}

TEST(SessionStreams, AHelloInTheMiddleIsAReconnectThatWasNotSeen) {
  TestHost host;
  uint32_t id = host.Open(Shell("echo before; read x; echo after"));
  host.Until([&] { return host.exec(id).ended(); });
  host.Send({.type = protocol::Type::kHello}, Encode(protocol::Hello{.epoch = 9}));
  int before = host.hellos;
  host.Until([&] { return host.hellos > before; });
  EXPECT_EQ(host.exec(id).output[1], "before\nafter\n");
  EXPECT_TRUE(host.disconnected.empty());
}

TEST(SessionStreams, AcknowledgesAtOnceWhenEverythingWasRead) {
  TestHost host;
  uint32_t id = host.Open(Cat16());
  host.Until([&] { return host.exec(id).pid.has_value(); });
  host.Input(id, "far less than half a window");
  EXPECT_TRUE(host.Until(
      [&] { return host.exec(id).input.appended() > 0 && host.exec(id).input.held() == 0; }));
  EXPECT_FALSE(host.exec(id).ended());
}

TEST(SessionStreams, AProgramThatReadsALotIsGivenMoreThanAPageAtATime) {
  TestHost host;
  auto spec = Shell("dd bs=1M count=33 of=/dev/null");
  spec.stdin_open = true;
  auto exec = host.Run(spec, std::string(8 << 20, 'x'));
  size_t bytes = 0;
  size_t at = exec.output[2].rfind(" bytes");
  ASSERT_NE(at, std::string::npos) << exec.output[2];
  size_t begin = exec.output[2].rfind('\n', at) + 1;
  bytes = std::stoul(exec.output[2].substr(begin, at - begin));
  // The first read is of a page; the others need only show that they are not.
  EXPECT_GT(bytes, 33u * 8192);
}

TEST(SessionStreams, AfterManyBytesTheLastReadIsStillAcknowledged) {
  TestHost host;
  uint32_t id = host.Open(Cat16());
  host.Until([&] { return host.exec(id).pid.has_value(); });
  size_t sent = 0;
  // Sizes of every kind: whole pipes, part of a page, more than the credit.
  for (size_t count : std::vector<size_t>{300000, 65536, 1, 4097, 12288, 20001, 5, 61440}) {
    host.Input(id, std::string(count, 'x'));
    sent += count;
    ASSERT_TRUE(host.Until([&] {
      return host.exec(id).input.appended() == sent && host.exec(id).input.held() == 0;
    })) << count;
  }
  EXPECT_FALSE(host.exec(id).ended());
}

TEST(SessionStreams, WhatIsLeftUnreadInALargePipeIsNotAcknowledged) {
  TestHost host;
  auto spec = Shell("dd bs=5000 count=20 iflag=fullblock of=/dev/null 2>&1; echo; sleep 0.1");
  spec.stdin_open = true;
  uint32_t id = host.Open(spec);
  host.Input(id, std::string(150000, 'x'));
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(host.exec(id).input_read, 100000u);
}

TEST(SessionStreams, AProgramThatClosesItsInputBeforeReadingItAllIsReported) {
  TestHost host;
  auto spec = Shell("dd bs=1 count=1 of=/dev/null 2>&1; exec 0<&-; sleep 100");
  spec.stdin_open = true;
  uint32_t id = host.Open(spec);
  host.Input(id, "abc");
  EXPECT_TRUE(host.Until([&] { return host.exec(id).input_reset; }));
  EXPECT_FALSE(host.exec(id).ended());
}

}  // namespace
}  // namespace msb::agent
