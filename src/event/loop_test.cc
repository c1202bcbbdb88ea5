// SPDX-License-Identifier: Apache-2.0
// The loop with real pipes, timers and a second thread.

#include "event/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <span>
#include <thread>

#include "sys/file.h"

namespace msb::event {
namespace {

using std::chrono::milliseconds;

TEST(Loop, TellsOfReadableAndOfHangUp) {
  auto loop = *Loop::Create();
  auto pipe = *sys::MakePipe();
  int readable = 0;
  bool hangup = false;
  auto registration = *loop->Watch(pipe.read, Interest::kRead, [&](Ready ready) {
    readable++;
    hangup = ready.hangup;
    std::byte buffer[8];
    (void)sys::ReadSome(pipe.read, buffer);
  });
  ASSERT_TRUE(sys::WriteAll(pipe.write, "x"));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1000))));
  EXPECT_EQ(readable, 1);
  EXPECT_FALSE(hangup);
  pipe.write.Reset();
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1000))));
  EXPECT_EQ(readable, 2);
  EXPECT_TRUE(hangup);
}

TEST(Loop, AWatcherEndedByAnotherInTheSameBatchIsNotCalled) {
  auto loop = *Loop::Create();
  auto a = *sys::MakePipe(), b = *sys::MakePipe();
  std::optional<Loop::Registration> first, second;
  int calls = 0;
  first = *loop->Watch(a.read, Interest::kRead, [&](Ready) {
    calls++;
    second.reset();
    first.reset();
  });
  second = *loop->Watch(b.read, Interest::kRead, [&](Ready) {
    calls++;
    first.reset();
    second.reset();
  });
  ASSERT_TRUE(sys::WriteAll(a.write, "x"));
  ASSERT_TRUE(sys::WriteAll(b.write, "x"));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1000))));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1))));
  EXPECT_EQ(calls, 1);
}

TEST(Loop, TimersFireInOrderAndACancelledOneDoesNot) {
  auto loop = *Loop::Create();
  std::string order;
  auto late = loop->After(milliseconds(4), [&] {
    order += "2";
    loop->Stop();
  });
  auto early = loop->After(milliseconds(1), [&] { order += "1"; });
  auto never = loop->After(milliseconds(2), [&] { order += "x"; });
  never.Cancel();
  EXPECT_TRUE(late.pending());
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(order, "12");
  EXPECT_FALSE(late.pending());
}

TEST(Loop, ATimerThatWasCalledCanBeSetAgain) {
  auto loop = *Loop::Create();
  int calls = 0;
  Loop::Timer timer;
  EXPECT_FALSE(timer.Again(milliseconds(1)));
  timer = loop->After(milliseconds(1), [&] {
    // From within its own call, too.
    bool again = ++calls == 2 && timer.Again(milliseconds(1));
    if (!again) loop->Stop();
  });
  EXPECT_FALSE(timer.Again(milliseconds(1))) << "it is pending";
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(timer.pending());
  EXPECT_TRUE(timer.Again(milliseconds(1)));
  EXPECT_TRUE(timer.pending());
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(timer.Again(milliseconds(1)));
  timer.Cancel();
  EXPECT_FALSE(timer.Again(milliseconds(1)));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(5))));
  EXPECT_EQ(calls, 3);
}

TEST(Loop, InterestCanBeTakenAwayAndGivenBack) {
  auto loop = *Loop::Create();
  auto pipe = *sys::MakePipe();
  int calls = 0;
  auto registration = *loop->Watch(pipe.write, Interest::kNone, [&](Ready) { calls++; });
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1))));
  EXPECT_EQ(calls, 0);
  ASSERT_TRUE(registration.SetInterest(Interest::kWrite));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(1000))));
  EXPECT_EQ(calls, 1);
}

TEST(Loop, ByEdgesAnEventfdThatNobodyReadsIsToldOfOncePerWrite) {
  auto loop = *Loop::Create();
  auto kick = *sys::EventFd();
  int calls = 0;
  auto registration = *loop->Watch(
      kick, Interest::kRead, [&](Ready) { calls++; }, Trigger::kEdge);
  uint64_t one = 1;
  for (int i = 1; i <= 3; i++) {
    ASSERT_TRUE(sys::WriteSome(kick, std::as_bytes(std::span(&one, 1))));
    for (int j = 0; j < 3; j++) ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(0))));
    EXPECT_EQ(calls, i);
  }
  ASSERT_TRUE(registration.SetInterest(Interest::kNone));
  ASSERT_TRUE(sys::WriteSome(kick, std::as_bytes(std::span(&one, 1))));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(0))));
  EXPECT_EQ(calls, 3);
  // What happened meanwhile is told when it is asked for again.
  ASSERT_TRUE(registration.SetInterest(Interest::kRead));
  ASSERT_TRUE(loop->RunOnce(Deadline::After(milliseconds(0))));
  EXPECT_EQ(calls, 4);
}

TEST(Loop, PostRunsOnTheLoopsThread) {
  auto loop = *Loop::Create();
  std::thread::id ran_on;
  std::thread poster([&] {
    loop->Post([&] {
      ran_on = std::this_thread::get_id();
      loop->Stop();
    });
  });
  ASSERT_TRUE(loop->Run());
  poster.join();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace msb::event
