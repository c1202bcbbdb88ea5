// SPDX-License-Identifier: Apache-2.0
// Relays between sockets on the loopback.

#include <gtest/gtest.h>

#include <thread>

#include "base/bytes.h"
#include "network/publisher.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::network {
namespace {

constexpr uint32_t kLoopback = 0x7F000001;

// A port that was free a moment ago.
uint16_t FreePort(Transport transport) {
  auto socket = transport == Transport::kTcp ? *sys::ListenTcp({kLoopback, 0})
                                             : *sys::BindUdp({kLoopback, 0});
  return sys::LocalAddress(socket)->port;
}

// Moves until `done`, for some seconds.
template <class F>
bool Until(Publisher& publisher, F done) {
  for (auto deadline = Deadline::After(std::chrono::seconds(20)); !deadline.Passed();) {
    publisher.Move();
    if (done()) return true;
    std::this_thread::yield();
  }
  return false;
}

std::string ReadWhatIsThere(BorrowedFd fd) {
  std::string text(65'536, '\0');
  auto n = sys::ReadSome(fd, std::as_writable_bytes(std::span(text)));
  text.resize(n ? *n : 0);
  return text;
}

struct Ports {
  uint16_t outer, inner;
};

class TcpTest : public testing::Test {
 protected:
  TcpTest() : inner_(*sys::ListenTcp({kLoopback, 0})) {
    PublishedPort port{kLoopback, FreePort(Transport::kTcp), sys::LocalAddress(inner_)->port,
                       Transport::kTcp};
    outer_ = port.host_port;
    publisher_ = std::make_unique<Publisher>(*Publisher::Listen(std::span(&port, 1)));
  }
  void Connect() {
    client_ = *sys::ConnectTcp({kLoopback, outer_});
    ASSERT_TRUE(publisher_->Begin(kLoopback).ok());
    ASSERT_TRUE(Until(*publisher_, [&] {
      auto taken = sys::Accept(inner_);
      if (taken && *taken) server_ = std::move(**taken);
      return static_cast<bool>(server_);
    }));
  }

  UniqueFd inner_, client_, server_;
  uint16_t outer_;
  std::unique_ptr<Publisher> publisher_;
};

TEST_F(TcpTest, CarriesBothWays) {
  Connect();
  ASSERT_TRUE(sys::WriteAll(client_, "question").ok());
  std::string got;
  EXPECT_TRUE(Until(*publisher_, [&] { return (got += ReadWhatIsThere(server_)) == "question"; }));
  got.clear();
  ASSERT_TRUE(sys::WriteAll(server_, "answer").ok());
  EXPECT_TRUE(Until(*publisher_, [&] { return (got += ReadWhatIsThere(client_)) == "answer"; }));
}

TEST_F(TcpTest, AnEndOfOneWayIsNoEndOfTheOther) {
  Connect();
  sys::ShutDownWriting(client_);
  EXPECT_TRUE(Until(*publisher_, [&] {
    std::byte one;
    auto n = sys::ReadSome(server_, std::span(&one, 1));
    return n && *n == 0;
  }));
  ASSERT_TRUE(sys::WriteAll(server_, "late").ok());
  std::string got;
  EXPECT_TRUE(Until(*publisher_, [&] { return (got += ReadWhatIsThere(client_)) == "late"; }));
}

TEST_F(TcpTest, CarriesMoreThanAllBuffersHold) {
  Connect();
  const std::string all(8 << 20, 'x');
  size_t sent = 0, got = 0;
  EXPECT_TRUE(Until(*publisher_, [&] {
    auto rest = AsBytes(all).subspan(sent, std::min<size_t>(all.size() - sent, 1 << 16));
    if (auto n = sys::SendSome(client_, rest)) sent += *n;
    got += ReadWhatIsThere(server_).size();
    return got == all.size();
  }));
}

TEST_F(TcpTest, WhereNobodyListensTheConnectionIsBroken) {
  inner_.Reset();
  client_ = *sys::ConnectTcp({kLoopback, outer_});
  ASSERT_TRUE(publisher_->Begin(kLoopback).ok());
  EXPECT_TRUE(Until(*publisher_, [&] {
    std::byte one;
    auto n = sys::ReadSome(client_, std::span(&one, 1));
    return !n && n.error().sys_errno() == ECONNRESET;
  }));
}

TEST_F(TcpTest, MoreThanItTakesWaitForOthersToEnd) {
  ASSERT_TRUE(publisher_->Begin(kLoopback).ok());
  std::vector<UniqueFd> clients, servers;
  for (size_t i = 0; i < TcpRelay::kMaxConnections + 2; i++)
    clients.push_back(*sys::ConnectTcp({kLoopback, outer_}));
  auto take = [&] {
    auto taken = sys::Accept(inner_);
    if (taken && *taken) servers.push_back(std::move(**taken));
    return servers.size();
  };
  EXPECT_TRUE(Until(*publisher_, [&] { return take() == TcpRelay::kMaxConnections; }));
  for (int i = 0; i < 100; i++) {
    publisher_->Move();
    EXPECT_EQ(take(), TcpRelay::kMaxConnections);
  }
  clients.erase(clients.begin(), clients.begin() + 2);
  servers.erase(servers.begin(), servers.begin() + 2);
  EXPECT_TRUE(Until(*publisher_, [&] { return take() == TcpRelay::kMaxConnections; }));
}

TEST(Publisher, CarriesDatagramsAndTheirAnswers) {
  UniqueFd server = *sys::BindUdp({kLoopback, 0});
  PublishedPort port{kLoopback, FreePort(Transport::kUdp), sys::LocalAddress(server)->port,
                     Transport::kUdp};
  auto publisher = *Publisher::Listen(std::span(&port, 1));
  ASSERT_TRUE(publisher.Begin(kLoopback).ok());
  UniqueFd first = *sys::ConnectUdp({kLoopback, port.host_port});
  UniqueFd second = *sys::ConnectUdp({kLoopback, port.host_port});
  for (const UniqueFd* client : {&first, &second}) {
    ASSERT_TRUE(sys::SendSome(*client, AsBytes("ping")).ok());
    std::byte buffer[64];
    EXPECT_TRUE(Until(publisher, [&] {
      auto got = sys::ReceiveFrom(server, buffer);
      if (!got || !*got) return false;
      sys::SendTo(server, std::span(buffer).first((*got)->bytes), (*got)->from);
      return true;
    }));
    EXPECT_TRUE(Until(publisher, [&] { return ReadWhatIsThere(*client) == "ping"; }));
  }
}

TEST(Publisher, APortInUseIsNamedWithARemedy) {
  UniqueFd taken = *sys::ListenTcp({kLoopback, 0});
  PublishedPort port{kLoopback, sys::LocalAddress(taken)->port, 80, Transport::kTcp};
  auto publisher = Publisher::Listen(std::span(&port, 1));
  ASSERT_FALSE(publisher.ok());
  EXPECT_NE(publisher.error().message().find("--publish 127.0.0.1:"), std::string::npos);
  EXPECT_NE(publisher.error().remedy().find("another program"), std::string::npos);
}

}  // namespace
}  // namespace msb::network
