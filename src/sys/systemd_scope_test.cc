// SPDX-License-Identifier: Apache-2.0
// Asking for a scope, with systemd's side played by the test.

#include "sys/systemd_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/dbus_message.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/socket.h"

namespace msb::sys {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kUnit = "msb-0a1b.scope";
constexpr std::string_view kGreeting = "OK f7a3dd7312ff7efb8a6bf6446b0189d8\r\n";
// Accepted by systemd 252: PIDs [0], Delegate true, CollectMode, Description "demo".
constexpr std::string_view kStartCall =
    "6c010201b0000000030000008e00000001016f00190000002f6f72672f667265656465736b746f702f73"
    "797374656d64310000000000000002017300200000006f72672e667265656465736b746f702e73797374"
    "656d64312e4d616e616765720000000000000000030173001200000053746172745472616e7369656e74"
    "556e69740000000000000801670010737361287376296128736128737629290000000e0000006d73622d"
    "306131622e73636f70650000040000006661696c000000007d0000000000000004000000504944730002"
    "61750000000004000000000000000800000044656c65676174650001620001000000000000000b000000"
    "436f6c6c6563744d6f6465000173000012000000696e6163746976652d6f722d6661696c656400000000"
    "00000b0000004465736372697074696f6e00017300000400000064656d6f000000000000000000000000";

// What a peer sends: a header of the fields that are not empty, and a body of texts.
struct Sent {
  uint8_t type;
  uint32_t reply_serial = 0;
  std::string interface = {}, member = {}, error_name = {}, signature = {};
  std::vector<std::string> texts = {};
};

std::string Encode(const Sent& sent) {
  dbus::Writer body;
  if (sent.signature.starts_with("u")) body.Uint32(33);
  for (const std::string& text : sent.texts) body.Text(text);
  dbus::Writer out;
  for (uint8_t byte : {uint8_t{'l'}, sent.type, uint8_t{1}, uint8_t{1}}) out.Byte(byte);
  out.Uint32(static_cast<uint32_t>(body.bytes().size()));
  out.Uint32(9);
  auto fields = out.BeginArray(8);
  auto field = [&](uint8_t code, std::string_view type, const std::string& value) {
    if (value.empty()) return;
    out.Align(8);
    out.Byte(code);
    out.Signature(type);
    type == "g" ? out.Signature(value) : out.Text(value);
  };
  field(2, "s", sent.interface);
  field(3, "s", sent.member);
  field(4, "s", sent.error_name);
  field(8, "g", sent.signature);
  if (sent.reply_serial != 0) {
    out.Align(8);
    out.Byte(5);
    out.Signature("u");
    out.Uint32(sent.reply_serial);
  }
  out.EndArray(fields);
  out.Align(8);
  out.Bytes(body.bytes());
  return std::string(AsText(out.bytes()));
}

std::string JobRemoved(const std::string& unit, const std::string& result) {
  return Encode({.type = 4,
                 .interface = "org.freedesktop.systemd1.Manager",
                 .member = "JobRemoved",
                 .signature = "uoss",
                 .texts = {"/org/freedesktop/systemd1/job/33", unit, result}});
}

std::string Answer(uint32_t serial) { return Encode({.type = 2, .reply_serial = serial}); }

std::string Refusal(const std::string& name, const std::string& why) {
  return Encode(
      {.type = 3, .reply_serial = 3, .error_name = name, .signature = "s", .texts = {why}});
}

std::string GoodAnswers() {
  return Cat(kGreeting, Answer(1), Answer(2), Answer(3), JobRemoved(kUnit, "done"));
}

TEST(ScopeDialogue, SaysToAManagerWhatOneHasUnderstood) {
  auto opening = ScopeDialogue(kUnit, false).Opening(1000, "demo");
  std::string_view text = AsText(opening);
  std::string_view greeting("\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n", 32);
  ASSERT_TRUE(text.starts_with(greeting));
  EXPECT_EQ(Hex(AsBytes(text.substr(greeting.size()))), kStartCall);
}

TEST(ScopeDialogue, IntroducesItselfToABusAndAsksForItsOwnSignalOnly) {
  auto opening = ScopeDialogue(kUnit, true).Opening(0, "demo");
  std::span<const std::byte> rest(opening);
  rest = rest.subspan(AsText(rest).find("BEGIN\r\n") + 7);
  std::vector<std::string> members;
  while (!rest.empty()) {
    size_t size = **dbus::MessageSize(rest);
    auto message = dbus::ParseMessage(rest.first(size));
    ASSERT_TRUE(message.ok()) << message.error().message();
    members.push_back(message->member);
    if (message->member == "AddMatch") {
      EXPECT_THAT(*dbus::Reader(message->body).Text(), HasSubstr("arg2='msb-0a1b.scope'"));
    }
    rest = rest.subspan(size);
  }
  EXPECT_THAT(members, ElementsAre("Hello", "AddMatch", "StartTransientUnit"));
}

TEST(ScopeDialogue, IsDoneWhenTheJobIsHoweverTheBytesCome) {
  std::string all = GoodAnswers();
  for (size_t piece : {size_t{1}, size_t{7}, size_t{100}, all.size()}) {
    ScopeDialogue dialogue(kUnit, true);
    for (size_t at = 0; at < all.size(); at += piece) {
      auto done = dialogue.Feed(AsBytes(std::string_view(all).substr(at, piece)));
      ASSERT_TRUE(done.ok()) << done.error().message();
      EXPECT_EQ(*done, at + piece >= all.size()) << at;
    }
  }
}

TEST(ScopeDialogue, GoesByItsOwnJobOnly) {
  ScopeDialogue dialogue(kUnit, false);
  std::string others = Cat(kGreeting, JobRemoved("other.scope", "failed"),
                           Encode({.type = 4, .interface = "x.y", .member = "JobRemoved"}),
                           Encode({.type = 1, .member = "Ping"}), Encode({.type = 77}), Answer(3));
  EXPECT_FALSE(*dialogue.Feed(AsBytes(others)));
  EXPECT_TRUE(*dialogue.Feed(AsBytes(JobRemoved(kUnit, "done"))));
  // A signal may overtake the answer.
  ScopeDialogue overtaken(kUnit, false);
  EXPECT_FALSE(*overtaken.Feed(AsBytes(Cat(kGreeting, JobRemoved(kUnit, "done")))));
  EXPECT_TRUE(*overtaken.Feed(AsBytes(Answer(3))));
}

struct Case {
  std::string sent;
  Code code;
  std::string said;
};

TEST(ScopeDialogue, SaysWhyThereIsNoScope) {
  std::string greeting(kGreeting);
  const Case cases[] = {
      {"REJECTED EXTERNAL\r\n", Code::kPermissionDenied, "this user is not let in"},
      {"HTTP/1.1 400 Bad\r\n", Code::kInvalidArgument, "HTTP/1.1 400"},
      {std::string(600, 'x'), Code::kInvalidArgument, "without an end"},
      {greeting + std::string(32, 'x'), Code::kInvalidArgument, "malformed D-Bus message"},
      {greeting + JobRemoved(kUnit, "canceled"), Code::kFailedPrecondition, "ended with: canceled"},
      {greeting + Refusal("org.freedesktop.DBus.Error.AccessDenied", "no\x1b[1m"),
       Code::kPermissionDenied, "systemd makes no msb-0a1b.scope: no\\x1b[1m"},
      {greeting + Refusal("org.freedesktop.systemd1.UnitExists", "Unit exists"),
       Code::kAlreadyExists, "Unit exists"},
      {greeting + Refusal("org.freedesktop.DBus.Error.NameHasNoOwner", "not here"),
       Code::kUnavailable, "not here"},
      {greeting + Refusal("org.freedesktop.DBus.Error.Failed", ""), Code::kFailedPrecondition,
       "org.freedesktop.DBus.Error.Failed"},
  };
  for (const Case& one : cases) {
    auto done = ScopeDialogue(kUnit, true).Feed(AsBytes(one.sent));
    ASSERT_FALSE(done.ok()) << one.said;
    EXPECT_EQ(done.error().code(), one.code) << done.error().message();
    EXPECT_THAT(done.error().message(), HasSubstr(one.said));
    if (one.code != Code::kInvalidArgument && one.code != Code::kUnavailable) {
      EXPECT_FALSE(done.error().remedy().empty());
    }
  }
}

TEST(ManagerSockets, AreTheSystemsForRootAndHisOwnForAUser) {
  EXPECT_THAT(ManagerSockets(0, "/run/user/1000", "unix:path=/x"),
              ElementsAre(ManagerSocket{"/run/dbus/system_bus_socket", false, true},
                          ManagerSocket{"/run/systemd/private", false, false}));
  EXPECT_THAT(ManagerSockets(1000, "", ""),
              ElementsAre(ManagerSocket{"/run/user/1000/bus", false, true},
                          ManagerSocket{"/run/user/1000/systemd/private", false, false}));
  EXPECT_THAT(ManagerSockets(1000, "/r", "unix:path=/r/bus,guid=00"),
              ElementsAre(ManagerSocket{"/r/bus", false, true},
                          ManagerSocket{"/r/systemd/private", false, false}));
  EXPECT_THAT(ManagerSockets(1000, "/r", "tcp:host=x;unix:abstract=/tmp/a%2cb,guid=0;unix:x"),
              ElementsAre(ManagerSocket{"/tmp/a,b", true, true}, ManagerSocket{"/r/bus"},
                          ManagerSocket{"/r/systemd/private", false, false}));
}

// A socket that somebody listens on; what he answers is in the kernel before it is read.
class ScopeRequestTest : public testing::Test {
 protected:
  ScopeRequestTest() {
    char path[] = "/tmp/msb-scope-test-XXXXXX";
    path_ = ::mkdtemp(path);
    dir_ = *OpenAt(Cwd(), path_, O_RDONLY | O_DIRECTORY);
  }
  ~ScopeRequestTest() override { (void)RemoveTreeAt(Cwd(), path_); }

  ManagerSocket Socket(const std::string& name) { return {Cat(path_, "/", name), false, true}; }
  Result<ScopeRequest> Send(std::vector<ManagerSocket> sockets, int deadline_ms = 10'000) {
    return ScopeRequest::Send(kUnit, "demo", std::move(sockets),
                              Deadline::After(std::chrono::milliseconds(deadline_ms)));
  }

  std::string path_;
  UniqueFd dir_;
};

TEST_F(ScopeRequestTest, AsksAtOnceAndWaitsLater) {
  UniqueFd listener = *ListenAt(dir_, "bus");
  auto request = Send({Socket("bus")});
  ASSERT_TRUE(request.ok()) << request.error().message();
  UniqueFd peer = **Accept(listener);
  std::array<std::byte, 4096> asked;
  size_t size = *ReadSome(peer, asked);
  EXPECT_THAT(std::string(AsText(std::span(asked).first(size))), HasSubstr("StartTransientUnit"));
  ASSERT_TRUE(WriteAll(peer, GoodAnswers()).ok());
  EXPECT_TRUE(request->Await().ok());
}

TEST_F(ScopeRequestTest, GivesUpOnAPeerThatIsSilentOrHalfWayThrough) {
  for (std::string said : {std::string(), std::string("OK f7"), GoodAnswers().substr(0, 100)}) {
    (void)UnlinkAt(dir_, "bus");
    UniqueFd listener = *ListenAt(dir_, "bus");
    auto request = Send({Socket("bus")}, 20);
    UniqueFd peer = **Accept(listener);
    ASSERT_TRUE(WriteAll(peer, said).ok());
    auto done = request->Await();
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code(), Code::kDeadlineExceeded);
    EXPECT_THAT(done.error().message(), HasSubstr("has not made msb-0a1b.scope in time"));
    EXPECT_FALSE(done.error().remedy().empty());
  }
}

TEST_F(ScopeRequestTest, GarbageIsAnErrorAndNotTriedElsewhere) {
  UniqueFd listener = *ListenAt(dir_, "bus");
  UniqueFd second = *ListenAt(dir_, "private");
  auto request = Send({Socket("bus"), Socket("private")});
  UniqueFd peer = **Accept(listener);
  ASSERT_TRUE(WriteAll(peer, Cat(kGreeting, std::string(4096, '\xff'))).ok());
  auto done = request->Await();
  ASSERT_FALSE(done.ok());
  EXPECT_THAT(done.error().message(), HasSubstr("malformed D-Bus message"));
  EXPECT_FALSE(*Accept(second));
}

TEST_F(ScopeRequestTest, NobodyThereNamesEverySocketThatWasTried) {
  auto request = Send({Socket("bus"), Socket(std::string(200, 'x')), Socket("private")});
  ASSERT_FALSE(request.ok());
  EXPECT_EQ(request.error().code(), Code::kUnavailable);
  EXPECT_THAT(request.error().message(), HasSubstr(Cat(path_, "/bus: No such file")));
  EXPECT_THAT(request.error().message(), HasSubstr("/private: No such file"));
  EXPECT_FALSE(request.error().remedy().empty());
}

// A bus that systemd is not on, and one that goes away.
TEST_F(ScopeRequestTest, GoesOnToTheManagerItself) {
  for (std::string said :
       {Cat(kGreeting, Refusal("org.freedesktop.DBus.Error.NameHasNoOwner", "not here")),
        std::string()}) {
    for (const char* name : {"bus", "private"}) (void)UnlinkAt(dir_, name);
    UniqueFd bus = *ListenAt(dir_, "bus");
    UniqueFd manager = *ListenAt(dir_, "private");
    auto request = Send({Socket("bus"), Socket("private")});
    {
      UniqueFd peer = **Accept(bus);
      std::array<std::byte, 4096> asked;
      (void)*ReadSome(peer, asked);
      ASSERT_TRUE(WriteAll(peer, said).ok());
    }
    auto played = ForkChild([&] {
      pollfd wait{manager.get(), POLLIN, 0};
      if (::poll(&wait, 1, 5000) != 1) return 1;
      UniqueFd peer = **Accept(manager);
      // Who closes before he was asked breaks the asker's pipe.
      wait.fd = peer.get();
      if (::poll(&wait, 1, 5000) != 1) return 4;
      std::array<std::byte, 4096> asked;
      if (!ReadSome(peer, asked).ok()) return 3;
      return WriteAll(peer, GoodAnswers()).ok() ? 0 : 2;
    });
    ASSERT_TRUE(played.ok());
    auto done = request->Await();
    EXPECT_TRUE(done.ok()) << done.error().message();
    EXPECT_TRUE(played->Wait(Deadline::After(std::chrono::seconds(5))).ok());
  }
}

TEST_F(ScopeRequestTest, SaysWhatAllOfThemSaid) {
  UniqueFd bus = *ListenAt(dir_, "bus");
  auto request = Send({Socket("bus"), Socket("private")});
  { UniqueFd peer = **Accept(bus); }
  auto done = request->Await();
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kUnavailable);
  EXPECT_THAT(done.error().message(), HasSubstr("/bus hung up; connect "));
}

}  // namespace
}  // namespace msb::sys
