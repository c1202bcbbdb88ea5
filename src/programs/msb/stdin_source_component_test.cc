// SPDX-License-Identifier: Apache-2.0
// What is taken from the caller's stdin, and what is left, on real files and pipes.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <string>

#include "programs/msb/stdin_source.h"
#include "sys/file.h"

namespace msb::cli {
namespace {

std::string ReadText(StdinSource& source, size_t max, bool* end = nullptr) {
  std::string text(max, '\0');
  auto piece = source.Read(std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(piece.ok());
  if (end != nullptr) *end = piece->end;
  text.resize(piece->bytes);
  return text;
}

bool Readable(BorrowedFd fd) {
  struct pollfd poller {
    fd.get(), POLLIN, 0
  };
  return ::poll(&poller, 1, 0) == 1;
}

UniqueFd FileWith(std::string_view text) {
  auto file = sys::MemFd("stdin");
  EXPECT_TRUE(file.ok());
  EXPECT_TRUE(sys::WriteAll(*file, text).ok());
  ::lseek(file->get(), 0, SEEK_SET);
  return *std::move(file);
}

TEST(FileStdin, IsLeftWhereTheProgramStoppedReading) {
  UniqueFd file = FileWith("one\ntwo\nthree\n");
  auto source = StdinSource::Create(file);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(ReadText(**source, 100), "one\ntwo\nthree\n");
  (*source)->Consumed(4);
  (*source)->Finish();
  EXPECT_EQ(*sys::ReadAll(file, 100), "two\nthree\n");
}

TEST(FileStdin, IsUntouchedWhenNothingWasConsumed) {
  UniqueFd file = FileWith("one\ntwo\n");
  ::lseek(file.get(), 4, SEEK_SET);  // A shell has read the first line.
  auto source = StdinSource::Create(file);
  EXPECT_EQ(ReadText(**source, 2), "tw");
  (*source)->Finish();
  (*source)->Finish();
  EXPECT_EQ(*sys::ReadAll(file, 100), "two\n");
}

TEST(FileStdin, Ends) {
  UniqueFd file = FileWith("x");
  auto source = StdinSource::Create(file);
  EXPECT_FALSE((*source)->wait_fd().has_value());
  bool end = false;
  EXPECT_EQ(ReadText(**source, 10, &end), "x");
  EXPECT_FALSE(end);
  EXPECT_EQ(ReadText(**source, 10, &end), "");
  EXPECT_TRUE(end);
}

class PipeStdin : public ::testing::Test {
 protected:
  PipeStdin() {
    pipe_ = *sys::MakePipe();
    source_ = *StdinSource::Create(pipe_.read);
  }
  void Write(std::string_view text) { ASSERT_TRUE(sys::WriteAll(pipe_.write, text).ok()); }
  // What another reader of the pipe would get.
  std::string Left() {
    std::string text(65536, '\0');
    if (!Readable(pipe_.read)) return "";
    auto count = sys::ReadSome(pipe_.read, std::as_writable_bytes(std::span(text)));
    text.resize(*count);
    return text;
  }

  sys::Pipe pipe_;
  std::unique_ptr<StdinSource> source_;
};

TEST_F(PipeStdin, KeepsWhatWasSentButNotConsumed) {
  Write("one\ntwo\n");
  EXPECT_EQ(ReadText(*source_, 100), "one\ntwo\n");
  source_->Finish();
  EXPECT_EQ(Left(), "one\ntwo\n");
}

TEST_F(PipeStdin, LosesExactlyWhatWasConsumed) {
  Write("one\ntwo\n");
  EXPECT_EQ(ReadText(*source_, 100), "one\ntwo\n");
  source_->Consumed(4);
  source_->Finish();
  EXPECT_EQ(Left(), "two\n");
}

TEST_F(PipeStdin, SendsEachByteOnce) {
  Write("abc");
  EXPECT_EQ(ReadText(*source_, 2), "ab");
  EXPECT_EQ(ReadText(*source_, 100), "c");
  EXPECT_EQ(ReadText(*source_, 100), "");
  Write("def");
  EXPECT_EQ(ReadText(*source_, 100), "def");
  source_->Consumed(5);
  Write("g");
  EXPECT_EQ(ReadText(*source_, 100), "g");
  source_->Consumed(7);
  EXPECT_EQ(Left(), "");
}

TEST_F(PipeStdin, WakesForNewBytesOnly) {
  auto wait = *source_->wait_fd();
  Write("abc");
  EXPECT_TRUE(Readable(wait));
  source_->OnReadable();
  EXPECT_EQ(ReadText(*source_, 100), "abc");
  // They are still in the pipe, and nobody wants to hear of it again.
  EXPECT_FALSE(Readable(wait));
  Write("d");
  EXPECT_TRUE(Readable(wait));
  source_->OnReadable();
  EXPECT_EQ(ReadText(*source_, 100), "d");
}

TEST_F(PipeStdin, EndsWhenTheWriterHasGoneAndEverythingWasSent) {
  Write("abc");
  pipe_.write.Reset();
  bool end = true;
  EXPECT_EQ(ReadText(*source_, 2, &end), "ab");
  EXPECT_FALSE(end);
  EXPECT_EQ(ReadText(*source_, 100, &end), "c");
  EXPECT_FALSE(end);
  EXPECT_EQ(ReadText(*source_, 100, &end), "");
  EXPECT_TRUE(end);
}

TEST_F(PipeStdin, WakesForTheEnd) {
  auto wait = *source_->wait_fd();
  Write("abc");
  source_->OnReadable();
  EXPECT_EQ(ReadText(*source_, 100), "abc");
  pipe_.write.Reset();
  EXPECT_TRUE(Readable(wait));
}

TEST_F(PipeStdin, PassesAFullPipeThroughManyTimes) {
  std::string sent, received;
  for (int round = 0; round < 20; round++) {
    std::string piece(65536, static_cast<char>('a' + round));
    Write(piece);
    sent += piece;
    while (received.size() < sent.size()) received += ReadText(*source_, 5000);
    source_->Consumed(received.size());
  }
  EXPECT_EQ(received, sent);
}

TEST_F(PipeStdin, NeverMakesTheDescriptionNonBlocking) {
  Write("abc");
  EXPECT_EQ(ReadText(*source_, 100), "abc");
  EXPECT_EQ(::fcntl(pipe_.read.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(PlainStdin, ReadsDevNullAsEmpty) {
  auto null = *sys::OpenAt(sys::Cwd(), "/dev/null", O_RDONLY);
  auto source = StdinSource::Create(null);
  ASSERT_TRUE(source.ok());
  EXPECT_FALSE((*source)->wait_fd().has_value());
  bool end = false;
  EXPECT_EQ(ReadText(**source, 10, &end), "");
  EXPECT_TRUE(end);
}

}  // namespace
}  // namespace msb::cli
