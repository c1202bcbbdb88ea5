// SPDX-License-Identifier: Apache-2.0
// The last lines of files small and large.

#include <gtest/gtest.h>

#include <string>

#include "programs/msb/log_tail.h"
#include "sys/file.h"

namespace msb::cli {
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

}  // namespace
}  // namespace msb::cli
