// SPDX-License-Identifier: Apache-2.0
// Logs that rotate while they are read, and the last lines of files small and large.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "base/bytes.h"
#include "sandbox/log_file.h"
#include "sandbox/log_reader.h"
#include "sandbox/log_tail.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

std::string Tail(std::string_view content, uint64_t lines) {
  auto file = *sys::MemFd("log");
  EXPECT_TRUE(sys::WriteAll(file, content).ok());
  EXPECT_TRUE(SeekToTail(file, lines).ok());
  return *sys::ReadAll(file, size_t{1} << 20);
}

TEST(SeekToTail, FindsTheLastLines) {
  EXPECT_EQ(Tail("a\nb\nc\n", 1), "c\n");
  EXPECT_EQ(Tail("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(Tail("a\nb\nc\n", 3), "a\nb\nc\n");
  EXPECT_EQ(Tail("a\nb\nc\n", 9), "a\nb\nc\n");
}

TEST(SeekToTail, CountsALastLineWithoutNewline) {
  EXPECT_EQ(Tail("a\nb\nc", 1), "c");
  EXPECT_EQ(Tail("a\nb\nc", 2), "b\nc");
}

TEST(SeekToTail, TakesNothingForZeroAndAllOfAnEmptyFile) {
  EXPECT_EQ(Tail("a\n", 0), "");
  EXPECT_EQ(Tail("", 3), "");
  EXPECT_EQ(Tail("\n\n\n", 2), "\n\n");
}

TEST(SeekToTail, CrossesItsOwnBlocks) {
  std::string text;
  for (int i = 0; i < 50'000; i++) text += std::to_string(i) + "\n";
  EXPECT_EQ(Tail(text, 3), "49997\n49998\n49999\n");
  EXPECT_EQ(Tail(text, 50'000), text);
  EXPECT_EQ(Tail(text, 49'999), text.substr(2));
}

class LogReaderTest : public testing::Test {
 protected:
  LogReaderTest() {
    char path[] = "/tmp/msb-log-test-XXXXXX";
    path_ = ::mkdtemp(path);
    dir_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
  }
  ~LogReaderTest() override { EXPECT_TRUE(sys::RemoveTreeAt(sys::Cwd(), path_).ok()); }

  LogFile Log() { return *LogFile::Create(dir_, "stdout.log", 10); }
  void Write(LogFile& log, std::string_view text) { ASSERT_TRUE(log.Append(AsBytes(text)).ok()); }
  LogReader Reader() { return std::move(**LogReader::Open(dir_, "stdout.log")); }
  static std::string Read(LogReader& reader) {
    std::string text;
    auto take = [&](std::string_view piece) -> Result<void> {
      text += piece;
      return {};
    };
    EXPECT_TRUE(reader.CopyTo(take).ok());
    return text;
  }
  std::string LastLines(uint64_t lines) {
    LogReader reader = Reader();
    EXPECT_TRUE(reader.SkipToTail(lines).ok());
    return Read(reader);
  }

  std::string path_;
  UniqueFd dir_;
};

TEST_F(LogReaderTest, HasNothingOfALogThatIsNot) {
  EXPECT_FALSE(LogReader::Open(dir_, "stdout.log")->has_value());
}

TEST_F(LogReaderTest, BeginsWithTheOlderHalf) {
  LogFile log = Log();
  Write(log, "older...");
  Write(log, "newer");
  LogReader reader = Reader();
  EXPECT_EQ(Read(reader), "older...newer");
}

TEST_F(LogReaderTest, ReadsOnThroughTheTwoStepsOfARotation) {
  LogFile log = Log();
  Write(log, "older");
  ASSERT_TRUE(sys::RenameAt(dir_, "stdout.log", dir_, "stdout.log.1").ok());
  LogReader reader = Reader();
  EXPECT_EQ(Read(reader), "older");
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "stdout.log", "newer").ok());
  EXPECT_EQ(Read(reader), "newer");
}

TEST_F(LogReaderTest, FollowsEveryRotation) {
  LogFile log = Log();
  LogReader reader = Reader();
  std::string written, read;
  for (int i = 0; i < 40; i++) {
    std::string line = std::to_string(i) + "\n";
    Write(log, line);
    written += line;
    if (i % 3 == 0) read += Read(reader);
  }
  EXPECT_EQ(read + Read(reader), written);
}

TEST_F(LogReaderTest, FindsTheRestOfTheFileThatWasJustRotated) {
  LogFile log = Log();
  Write(log, "12345");
  LogReader reader = Reader();
  EXPECT_EQ(Read(reader), "12345");
  Write(log, "678");
  Write(log, "abcdefgh");
  Write(log, "ijklmnop");
  EXPECT_EQ(Read(reader), "678abcdefghijklmnop");
}

TEST_F(LogReaderTest, CountsTheLastLinesAcrossTheRotation) {
  LogFile log = Log();
  Write(log, "1\n2\n3\n4");
  Write(log, "4\n5\n6\n");
  EXPECT_EQ(LastLines(0), "");
  EXPECT_EQ(LastLines(1), "6\n");
  EXPECT_EQ(LastLines(2), "5\n6\n");
  EXPECT_EQ(LastLines(3), "44\n5\n6\n");
  EXPECT_EQ(LastLines(4), "3\n44\n5\n6\n");
  EXPECT_EQ(LastLines(9), "1\n2\n3\n44\n5\n6\n");
}

}  // namespace
}  // namespace msb::sandbox
