// SPDX-License-Identifier: Apache-2.0
// The frame codec, and cutting a byte stream into frames however it arrives.

#include "protocol/frame.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/bytes.h"

namespace msb::protocol {
namespace {

std::array<std::byte, kHeaderSize> Encoded(const Header& header) {
  std::array<std::byte, kHeaderSize> bytes;
  EncodeHeader(header, bytes);
  return bytes;
}

TEST(Header, ComesBackAsItWas) {
  Header header{
      .length = 7, .type = Type::kData, .fd = 2, .exec = 0xdeadbeef, .offset = 1ull << 40};
  auto parsed = ParseHeader(Encoded(header));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, header);
}

TEST(Header, RefusesABodyOverTheLimit) {
  EXPECT_TRUE(ParseHeader(Encoded({.length = kMaxBody, .type = Type::kData})).ok());
  EXPECT_FALSE(ParseHeader(Encoded({.length = kMaxBody + 1, .type = Type::kData})).ok());
}

TEST(Header, RefusesTypesItDoesNotKnow) {
  for (int type : {0, 7, 15, 25, 31, 36, 47, 57, 255}) {
    EXPECT_FALSE(ParseHeader(Encoded({.type = static_cast<Type>(type)})).ok()) << type;
  }
}

TEST(Header, RefusesAStreamAboveStderr) {
  EXPECT_TRUE(ParseHeader(Encoded({.type = Type::kData, .fd = 2})).ok());
  EXPECT_FALSE(ParseHeader(Encoded({.type = Type::kData, .fd = 3})).ok());
}

TEST(FrameReader, AnErrorStaysAnError) {
  FrameReader reader;
  auto space = reader.Space();
  std::fill_n(space.begin(), 64, std::byte{0xff});
  reader.Filled(64);
  EXPECT_FALSE(reader.Next().ok());
  EXPECT_FALSE(reader.Next().ok());
}

TEST(FrameReader, ResetDropsHalfAFrame) {
  std::vector<std::byte> bytes;
  AppendFrame(bytes, {.type = Type::kPing}, AsBytes("hello"));
  FrameReader reader;
  std::copy_n(bytes.begin(), 18, reader.Space().begin());
  reader.Filled(18);
  ASSERT_FALSE(reader.Next()->has_value());
  EXPECT_EQ(reader.pending(), 18u);
  reader.Reset();
  std::copy(bytes.begin(), bytes.end(), reader.Space().begin());
  reader.Filled(bytes.size());
  auto frame = reader.Next();
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_EQ(AsText((*frame)->body), "hello");
}

TEST(FrameReader, ALargeOneTakesManyFramesInOneRead) {
  std::vector<std::byte> bytes;
  for (uint32_t i = 0; i < FrameReader::kLarge / kMaxFrame; i++)
    AppendFrame(bytes, {.type = Type::kData, .exec = i}, std::vector<std::byte>(kMaxBody));
  FrameReader reader(FrameReader::kLarge);
  ASSERT_EQ(reader.Space().size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), reader.Space().begin());
  reader.Filled(bytes.size());
  for (uint32_t i = 0; i < FrameReader::kLarge / kMaxFrame; i++)
    EXPECT_EQ((*reader.Next())->header.exec, i);
  EXPECT_FALSE(reader.Next()->has_value());
}

RC_GTEST_PROP(FrameReader, CutsFramesHoweverTheBytesArrive, ()) {
  auto lengths =
      *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, kMaxBody + 1));
  std::vector<std::byte> stream;
  for (size_t i = 0; i < lengths.size(); ++i) {
    std::vector<std::byte> body(lengths[i], static_cast<std::byte>(i));
    AppendFrame(stream, {.type = Type::kData, .exec = static_cast<uint32_t>(i)}, body);
  }
  FrameReader reader(*rc::gen::element(FrameReader::kSmallest, FrameReader::kLarge));
  size_t seen = 0, fed = 0;
  while (true) {
    auto frame = reader.Next();
    RC_ASSERT(frame.ok());
    if (frame->has_value()) {
      RC_ASSERT((*frame)->header.exec == seen);
      RC_ASSERT((*frame)->body.size() == lengths[seen]);
      for (auto byte : (*frame)->body) RC_ASSERT(byte == static_cast<std::byte>(seen));
      ++seen;
      continue;
    }
    if (fed == stream.size()) break;
    auto space = reader.Space();
    RC_ASSERT(space.size() >= kMaxFrame);
    size_t count = *rc::gen::inRange<size_t>(1, std::min(space.size(), stream.size() - fed) + 1);
    std::copy_n(stream.begin() + static_cast<ptrdiff_t>(fed), count, space.begin());
    reader.Filled(count);
    fed += count;
  }
  RC_ASSERT(seen == lengths.size());
  RC_ASSERT(reader.pending() == 0u);
}

}  // namespace
}  // namespace msb::protocol
