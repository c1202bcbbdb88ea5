// SPDX-License-Identifier: Apache-2.0
// D-Bus messages against bytes that real peers have written and read.

#include "sys/dbus_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::sys::dbus {
namespace {

using testing::HasSubstr;

std::vector<std::byte> Bytes(std::string_view hex) { return *ParseHex(hex); }

// dbus-daemon 1.14's answer to Hello: its name for us is ":1.2".
constexpr std::string_view kHelloAnswer =
    "6c02010109000000010000003d00000006017300040000003a312e320000000005017500010000000801670001"
    "73000007017300140000006f72672e667265656465736b746f702e4442757300000000040000003a312e3200";
// systemd 252's JobRemoved(33, its path, "demo-12915.scope", "done"), by way of dbus-daemon.
constexpr std::string_view kJobRemoved =
    "6c0401014d0000002e0000008d00000001016f00190000002f6f72672f667265656465736b746f702f737973746"
    "56d6431000000000000000201730020000000"
    "6f72672e667265656465736b746f702e73797374656d64312e4d616e61676572"
    "0000000000000000030173000a0000004a6f6252656d6f766564000000000000080167000475"
    "6f73730000000000000007017300040000003a312e3000000000"
    "21000000200000002f6f72672f667265656465736b746f702f73797374656d64312f6a6f622f3333000000001000"
    "000064656d6f2d31323931352e73636f7065000000"
    "0004000000646f6e6500";

TEST(DBusMessage, WritesACallAsTheSpecificationHasIt) {
  Call call{1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello",
            ""};
  EXPECT_EQ(Hex(EncodeCall(call, {})),
            "6c01020100000000010000006d000000"                              // No body, serial 1.
            "01016f00150000002f6f72672f667265656465736b746f702f4442757300"  // Path,
            "0000"
            "02017300140000006f72672e667265656465736b746f702e4442757300"  // interface,
            "000000"
            "030173000500000048656c6c6f00"  // member,
            "0000"
            "06017300140000006f72672e667265656465736b746f702e4442757300"  // destination.
            "000000");
}

TEST(DBusMessage, ReadsAnAnswerOfABus) {
  auto bytes = Bytes(kHelloAnswer);
  EXPECT_EQ(**MessageSize(bytes), bytes.size());
  auto message = ParseMessage(bytes);
  ASSERT_TRUE(message.ok()) << message.error().message();
  EXPECT_EQ(message->type, MessageType::kReturn);
  EXPECT_EQ(message->reply_serial, 1u);
  EXPECT_EQ(message->signature, "s");
  EXPECT_EQ(*Reader(message->body).Text(), ":1.2");
}

TEST(DBusMessage, ReadsASignalOfSystemd) {
  auto message = ParseMessage(Bytes(kJobRemoved));
  ASSERT_TRUE(message.ok()) << message.error().message();
  EXPECT_EQ(message->type, MessageType::kSignal);
  EXPECT_EQ(message->interface, "org.freedesktop.systemd1.Manager");
  EXPECT_EQ(message->member, "JobRemoved");
  EXPECT_EQ(message->signature, "uoss");
  Reader body(message->body);
  EXPECT_EQ(*body.Uint32(), 33u);
  EXPECT_EQ(*body.Text(), "/org/freedesktop/systemd1/job/33");
  EXPECT_EQ(*body.Text(), "demo-12915.scope");
  EXPECT_EQ(*body.Text(), "done");
  EXPECT_FALSE(body.Text().ok());
}

TEST(DBusMessage, TellsItsSizeFromTheFirst16Bytes) {
  auto bytes = Bytes(kJobRemoved);
  for (size_t size = 0; size < 16; size++) {
    auto known = MessageSize(std::span(bytes).first(size));
    ASSERT_TRUE(known.ok());
    EXPECT_FALSE(*known) << size;
  }
  EXPECT_EQ(**MessageSize(std::span(bytes).first(16)), bytes.size());
}

TEST(DBusMessage, RefusesEveryTruncation) {
  for (std::string_view hex : {kHelloAnswer, kJobRemoved}) {
    auto bytes = Bytes(hex);
    for (size_t size = 0; size < bytes.size(); size++)
      EXPECT_FALSE(ParseMessage(std::span(bytes).first(size)).ok()) << size;
  }
}

struct Damage {
  size_t at;
  uint8_t value;
  const char* said;
};

TEST(DBusMessage, RefusesWhatIsNotWellFormed) {
  constexpr Damage kCases[] = {
      {0, 'B', "not little-endian"},    // Of another byte order.
      {1, 0, "of no type"},             //
      {3, 2, "of another version"},     //
      {6, 1, "more than 65536"},        // A body of 64 KiB and more.
      {14, 1, "more than 65536"},       // Header fields likewise.
      {17, 2, "text without its end"},  // The signature of a header field.
      {18, 'a', "unknown type"},        // Of an array.
      {20, 5, "text without its end"},  // A text that is longer than said,
      {21, 1, "truncated"},             // and longer than all.
      {29, 1, "padding"},               //
      {34, 's', "reply serial"},        //
      {36, 0, "answer to no call"},     //
  };
  for (const Damage& damage : kCases) {
    auto bytes = Bytes(kHelloAnswer);
    bytes[damage.at] = std::byte{damage.value};
    auto message = ParseMessage(bytes);
    ASSERT_FALSE(message.ok()) << damage.at;
    EXPECT_THAT(message.error().message(), HasSubstr(damage.said)) << damage.at;
    EXPECT_EQ(message.error().code(), Code::kInvalidArgument);
  }
}

TEST(DBusMessage, SkipsBasicHeaderFieldsThatItDoesNotKnow) {
  // Type and size; 0 for texts.
  constexpr std::pair<const char*, size_t> kTypes[] = {
      {"y", 1}, {"n", 2}, {"q", 2}, {"b", 4}, {"i", 4}, {"u", 4}, {"h", 4},
      {"x", 8}, {"t", 8}, {"d", 8}, {"s", 0}, {"o", 0}, {"g", 0}};
  for (auto [type, size] : kTypes) {
    Writer fields;
    fields.Byte(9);
    fields.Signature(type);
    if (size != 0) {
      fields.Align(size);
      for (size_t i = 0; i < size; i++) fields.Byte(0xff);
    } else if (std::string_view(type) == "g") {
      fields.Signature("x");
    } else {
      fields.Text("x");
    }
    fields.Align(8);
    fields.Byte(5);
    fields.Signature("u");
    fields.Uint32(3);
    Writer whole;
    whole.Bytes(Bytes("6c0201010000000007000000"));
    whole.Uint32(static_cast<uint32_t>(fields.bytes().size()));
    whole.Bytes(fields.bytes());
    whole.Align(8);
    auto message = ParseMessage(whole.bytes());
    ASSERT_TRUE(message.ok()) << type << ": " << message.error().message();
    EXPECT_EQ(message->reply_serial, 3u);
  }
}

TEST(DBusWriter, CountsAnArrayWithoutTheGapBeforeIt) {
  Writer out;
  out.Byte(7);
  auto empty = out.BeginArray(8);
  out.EndArray(empty);
  auto one = out.BeginArray(8);
  out.Align(8);
  out.Byte(1);
  out.EndArray(one);
  EXPECT_EQ(Hex(out.bytes()),
            "07000000"
            "00000000"
            "01000000"
            "00000000"
            "01");
}

}  // namespace
}  // namespace msb::sys::dbus
