// SPDX-License-Identifier: Apache-2.0
// Every message comes back as it was sent; what is over a limit, cut short or too long is refused.

#include "protocol/messages.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/bytes.h"
#include "protocol/frame.h"

namespace msb::protocol {
namespace {

template <class T, class Parse>
void ExpectRoundTrip(const T& value, Parse parse) {
  Bytes bytes = Encode(value);
  RC_ASSERT(bytes.size() <= kMaxBody);
  auto parsed = parse(ByteSpan(bytes));
  RC_ASSERT(parsed.ok());
  RC_ASSERT(*parsed == value);
  // No prefix of a message is a message, nor is a message with a byte more.
  size_t cut = *rc::gen::inRange<size_t>(0, bytes.size());
  RC_ASSERT(!parse(ByteSpan(bytes).first(cut)).ok());
  bytes.push_back(std::byte{0});
  RC_ASSERT(!parse(ByteSpan(bytes)).ok());
}

rc::Gen<std::string> Text(size_t limit) {
  return rc::gen::mapcat(rc::gen::inRange<size_t>(0, limit + 1), [](size_t length) {
    return rc::gen::container<std::string>(length, rc::gen::arbitrary<char>());
  });
}

rc::Gen<std::string> NoNul(size_t limit) {
  return rc::gen::mapcat(rc::gen::inRange<size_t>(0, limit + 1), [](size_t length) {
    return rc::gen::container<std::string>(length, rc::gen::nonZero<char>());
  });
}

RC_GTEST_PROP(Messages, HelloComesBack, ()) {
  Hello hello;
  hello.epoch = *rc::gen::arbitrary<uint64_t>();
  hello.release = *Text(128);
  for (int i = *rc::gen::inRange(0, 17); i > 0; --i)
    hello.stages.push_back({*Text(32), *rc::gen::arbitrary<uint64_t>()});
  ExpectRoundTrip(hello, ParseHello);
}

RC_GTEST_PROP(Messages, MachineConfigComesBack, ()) {
  MachineConfig config{.hostname = *Text(64),
                       .realtime_ns = *rc::gen::arbitrary<int64_t>(),
                       .entropy = *Text(64),
                       .resolv_conf = *Text(4096)};
  ExpectRoundTrip(config, ParseMachineConfig);
}

RC_GTEST_PROP(Messages, ExecSpecComesBack, ()) {
  ExecSpec spec;
  for (int i = *rc::gen::inRange(1, 20); i > 0; --i) spec.argv.push_back(*NoNul(60));
  for (int i = *rc::gen::inRange(0, 20); i > 0; --i)
    spec.env.push_back("K" + std::to_string(i) + "=" + *NoNul(60));
  if (*rc::gen::arbitrary<bool>()) spec.workdir = "/" + *NoNul(100);
  spec.user = *NoNul(64);
  spec.terminal = *rc::gen::arbitrary<bool>();
  spec.stdin_open = *rc::gen::arbitrary<bool>();
  spec.size = {*rc::gen::arbitrary<uint16_t>(), *rc::gen::arbitrary<uint16_t>()};
  ExpectRoundTrip(spec, ParseExecSpec);
}

RC_GTEST_PROP(Messages, SmallOnesComeBack, ()) {
  ExpectRoundTrip(TerminalSize{*rc::gen::arbitrary<uint16_t>(), *rc::gen::arbitrary<uint16_t>()},
                  ParseTerminalSize);
  ExpectRoundTrip(ExecStarted{*rc::gen::arbitrary<uint32_t>()}, ParseExecStarted);
  ExpectRoundTrip(ExecFailed{.reason = static_cast<FailReason>(*rc::gen::inRange(1, 7)),
                             .error = *rc::gen::arbitrary<int32_t>(),
                             .message = *Text(512)},
                  ParseExecFailed);
  ExpectRoundTrip(ExecExit{.kind = static_cast<ExitKind>(*rc::gen::inRange(1, 4)),
                           .code = *rc::gen::inRange(0, 128),
                           .spawn_to_exit_ns = *rc::gen::arbitrary<uint64_t>(),
                           .cpu_user_ns = *rc::gen::arbitrary<uint64_t>(),
                           .cpu_system_ns = *rc::gen::arbitrary<uint64_t>(),
                           .peak_memory_bytes = *rc::gen::arbitrary<uint64_t>()},
                  ParseExecExit);
  ExpectRoundTrip(ErrorBody{.code = static_cast<uint8_t>(*rc::gen::inRange(0, 11)),
                            .message = *Text(4096),
                            .remedy = *Text(4096)},
                  ParseErrorBody);
}

TEST(Messages, NumbersComeBackAndNothingElseIsANumber) {
  EXPECT_EQ(*ParseU32(EncodeU32(0x12345678)), 0x12345678u);
  EXPECT_EQ(*ParseU64(EncodeU64(~0ull)), ~0ull);
  EXPECT_FALSE(ParseU32(EncodeU64(1)).ok());
  EXPECT_FALSE(ParseU64(EncodeU32(1)).ok());
}

TEST(Messages, AnotherVersionIsRefusedByName) {
  auto parsed = ParseHello(Encode(Hello{.version = 2}));
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(parsed.error().message().find("version 2"), std::string::npos);
}

TEST(Messages, HelloWithoutTheMagicIsRefused) {
  auto bytes = Encode(Hello{});
  bytes[0] ^= std::byte{1};
  EXPECT_FALSE(ParseHello(bytes).ok());
}

TEST(Messages, TextsOverTheirLimitAreRefused) {
  EXPECT_FALSE(ParseMachineConfig(Encode(MachineConfig{.hostname = std::string(65, 'a')})).ok());
  EXPECT_FALSE(ParseMachineConfig(Encode(MachineConfig{.entropy = std::string(65, 'a')})).ok());
  EXPECT_FALSE(
      ParseMachineConfig(Encode(MachineConfig{.resolv_conf = std::string(4097, 'a')})).ok());
}

TEST(Messages, OwnTextsAreCutToTheirLimit) {
  auto failed = ParseExecFailed(Encode(ExecFailed{.message = std::string(600, 'm')}));
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ(failed->message.size(), 512u);
  auto error = ParseErrorBody(Encode(ErrorBody{.message = std::string(5000, 'm')}));
  ASSERT_TRUE(error.ok());
  EXPECT_EQ(error->message.size(), 4096u);
}

TEST(Messages, EnumeratorsOutOfRangeAreRefused) {
  EXPECT_FALSE(ParseExecFailed(Encode(ExecFailed{.reason = static_cast<FailReason>(0)})).ok());
  EXPECT_FALSE(ParseExecFailed(Encode(ExecFailed{.reason = static_cast<FailReason>(7)})).ok());
  EXPECT_FALSE(ParseExecExit(Encode(ExecExit{.kind = static_cast<ExitKind>(4)})).ok());
  EXPECT_FALSE(ParseExecExit(Encode(ExecExit{.code = 256})).ok());
  EXPECT_FALSE(ParseExecExit(Encode(ExecExit{.code = -1})).ok());
  EXPECT_FALSE(ParseExecExit(Encode(ExecExit{.kind = ExitKind::kSignaled, .code = 128})).ok());
  EXPECT_FALSE(ParseErrorBody(Encode(ErrorBody{.code = 11})).ok());
}

TEST(ExecSpec, SaysWhatIsWrongWithIt) {
  auto message = [](const ExecSpec& spec) {
    auto checked = CheckExecSpec(spec);
    EXPECT_FALSE(!checked.ok() && checked.error().remedy().empty());
    return checked.ok() ? std::string() : checked.error().message();
  };
  EXPECT_EQ(message({.argv = {"true"}}), "");
  EXPECT_EQ(message({}), "no command");
  EXPECT_EQ(message({.argv = {std::string("a\0b", 3)}}), "an argument holds a NUL byte");
  EXPECT_NE(message({.argv = {"a"}, .env = {"novalue"}}), "");
  EXPECT_NE(message({.argv = {"a"}, .env = {"=x"}}), "");
  EXPECT_NE(message({.argv = {"a"}, .workdir = "tmp"}), "");
  EXPECT_NE(message({.argv = {"a"}, .user = std::string(257, 'u')}), "");
  EXPECT_NE(message({.argv = std::vector<std::string>(1025, "x")}), "");
  EXPECT_NE(message({.argv = {"a"}, .env = std::vector<std::string>(1025, "K=v")}), "");
  EXPECT_NE(message({.argv = {std::string(33000, 'x')}}), "");
}

TEST(ExecSpec, WhatPassesTheCheckFitsAFrame) {
  // The limit exactly: one byte more is refused.
  ExecSpec spec{.argv = {""}};
  size_t overhead = Encode(spec).size();
  spec.argv[0].resize(kMaxBody - overhead, 'x');
  ASSERT_TRUE(CheckExecSpec(spec).ok());
  EXPECT_EQ(Encode(spec).size(), kMaxBody);
  EXPECT_TRUE(ParseExecSpec(Encode(spec)).ok());
  spec.argv[0] += 'x';
  EXPECT_FALSE(CheckExecSpec(spec).ok());
}

TEST(ExecSpec, LeavesRoomFor24KiBOfArguments) {
  ExecSpec spec{.argv = std::vector<std::string>(1024, std::string(12, 'a')),
                .env = std::vector<std::string>(1024, "K=" + std::string(10, 'v')),
                .workdir = "/" + std::string(200, 'w')};
  EXPECT_TRUE(CheckExecSpec(spec).ok());
}

TEST(ErrorBody, CarriesAnErrorAcross) {
  Error error = Error(Code::kNotFound, "no such image").Remedy("pull it");
  Error back = ToError(*ParseErrorBody(Encode(ToBody(error))));
  EXPECT_EQ(back.code(), Code::kNotFound);
  EXPECT_EQ(back.message(), "no such image");
  EXPECT_EQ(back.remedy(), "pull it");
}

}  // namespace
}  // namespace msb::protocol
