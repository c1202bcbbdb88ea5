// SPDX-License-Identifier: Apache-2.0
// Output to real pipes and files: nothing blocks, nothing is lost, nothing is made non-blocking.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "programs/msb/output_sink.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::cli {
namespace {

class OutputSinkTest : public ::testing::Test {
 protected:
  OutputSinkTest() { ::signal(SIGPIPE, SIG_IGN); }

  std::unique_ptr<OutputSink> SinkFor(BorrowedFd fd) {
    return std::make_unique<OutputSink>(
        *loop_, fd.get(), [this](size_t bytes) { written_ += bytes; },
        [this](Error error) { broken_ = error.sys_errno(); });
  }
  static std::span<const std::byte> Bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }
  // Reads what is there until `total` bytes have come, letting the sink write in between.
  std::string Drain(BorrowedFd fd, size_t total) {
    std::string text, piece(100'000, '\0');
    while (text.size() < total) {
      auto ran = loop_->RunOnce(Deadline::After(std::chrono::milliseconds(1)));
      EXPECT_TRUE(ran.ok());
      auto count = sys::ReadSome(fd, std::as_writable_bytes(std::span(piece)));
      if (!count || *count == 0) break;
      text.append(piece, 0, *count);
    }
    return text;
  }

  std::unique_ptr<event::Loop> loop_ = *event::Loop::Create();
  size_t written_ = 0;
  std::optional<int> broken_;
};

TEST_F(OutputSinkTest, QueuesWhatAPipeDoesNotTakeAndWritesItLater) {
  auto pipe = *sys::MakePipe();
  auto sink = SinkFor(pipe.write);
  std::string text(300'000, 'x');
  sink->Write(Bytes(text));
  EXPECT_FALSE(sink->drained());
  EXPECT_LT(written_, text.size());
  EXPECT_EQ(Drain(pipe.read, text.size()), text);
  EXPECT_TRUE(sink->drained());
  EXPECT_EQ(written_, text.size());
  EXPECT_EQ(::fcntl(pipe.write.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(OutputSinkTest, KeepsTheOrderWhileItWaits) {
  auto pipe = *sys::MakePipe();
  auto sink = SinkFor(pipe.write);
  std::string all;
  for (int i = 0; i < 100; i++) {
    std::string piece(3000, static_cast<char>('A' + i % 26));
    sink->Write(Bytes(piece));
    all += piece;
  }
  EXPECT_EQ(Drain(pipe.read, all.size()), all);
}

TEST_F(OutputSinkTest, TellsOnceThatTheReaderHasGoneAndSwallowsTheRest) {
  auto pipe = *sys::MakePipe();
  auto sink = SinkFor(pipe.write);
  pipe.read.Reset();
  sink->Write(Bytes("abc"));
  EXPECT_EQ(broken_, EPIPE);
  EXPECT_TRUE(sink->broken() && sink->drained());
  broken_.reset();
  sink->Write(Bytes("def"));
  EXPECT_FALSE(broken_.has_value());
  EXPECT_EQ(written_, 6u);  // Credit goes on: the program must be able to end.
}

TEST_F(OutputSinkTest, NoticesAReaderThatGoesWhileItWaits) {
  auto pipe = *sys::MakePipe();
  auto sink = SinkFor(pipe.write);
  sink->Write(Bytes(std::string(300'000, 'x')));
  pipe.read.Reset();
  ASSERT_TRUE(loop_->RunOnce(Deadline::After(std::chrono::seconds(5))).ok());
  EXPECT_EQ(broken_, EPIPE);
  EXPECT_EQ(written_, 300'000u);
}

TEST_F(OutputSinkTest, WritesFilesWhereTheyStand) {
  auto file = *sys::MemFd("out");
  ASSERT_TRUE(sys::WriteAll(file, "before ").ok());
  SinkFor(file)->Write(Bytes("after"));
  std::string text(12, '\0');
  ASSERT_TRUE(sys::ReadExactlyAt(file, std::as_writable_bytes(std::span(text)), 0).ok());
  EXPECT_EQ(text, "before after");
}

TEST_F(OutputSinkTest, WaitsForASocket) {
  auto pair = *sys::MakeSocketPair();
  auto sink = SinkFor(pair.first);
  std::string text(1'000'000, 'x');
  sink->Write(Bytes(text));
  EXPECT_FALSE(sink->drained());
  EXPECT_EQ(Drain(pair.second, text.size()), text);
  EXPECT_EQ(::fcntl(pair.first.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(OutputSinkTest, ReportsAFullDisk) {
  auto full = *sys::OpenAt(sys::Cwd(), "/dev/full", O_WRONLY);
  SinkFor(full)->Write(Bytes("x"));
  EXPECT_EQ(broken_, ENOSPC);
}

}  // namespace
}  // namespace msb::cli
