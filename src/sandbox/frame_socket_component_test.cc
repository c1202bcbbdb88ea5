// SPDX-License-Identifier: Apache-2.0
// What leaves a FrameSocket, however much its peer takes at once, and from where.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "base/bytes.h"
#include "sandbox/frame_socket.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

using protocol::Type;

class FrameSocketTest : public testing::Test, protected FrameSocket::Handler {
 protected:
  FrameSocketTest() {
    loop_ = *event::Loop::Create();
    auto pair = *sys::MakeSocketPair();
    peer_ = std::move(pair.second);
    // As little as Linux lets a socket have.
    int least = 1;
    EXPECT_EQ(::setsockopt(pair.first.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    socket_ = *FrameSocket::Create(*loop_, std::move(pair.first), *this);
  }
  Result<void> OnFrame(const protocol::Frame&) override { return {}; }
  void OnEnded(Error) override { ended_ = true; }

  void InPlace(std::span<const std::byte> body) {
    socket_->SendInPlace(Next(body), body);
    protocol::AppendFrame(expected_, headers_, body);
  }
  void Copied(std::span<const std::byte> body) {
    socket_->Send(Next(body), body);
    protocol::AppendFrame(expected_, headers_, body);
  }
  // All that comes while the loop runs.
  std::vector<std::byte> Arrived() {
    std::vector<std::byte> all;
    for (int quiet = 0; quiet < 3; quiet++) {
      (void)loop_->RunOnce(Deadline::After(Clock::duration::zero()));
      std::byte buffer[5000];
      iovec part{buffer, sizeof buffer};
      while (auto count = *sys::ReceiveParts(peer_, std::span(&part, 1))) {
        all.insert(all.end(), buffer, buffer + *count);
        quiet = 0;
      }
    }
    return all;
  }
  static std::vector<std::byte> Body(size_t size, int mark) {
    std::vector<std::byte> body(size);
    for (size_t i = 0; i < size; i++)
      body[i] = static_cast<std::byte>(i * 7 + (i >> 8) + size_t(mark));
    return body;
  }

  std::unique_ptr<event::Loop> loop_;
  UniqueFd peer_;
  std::unique_ptr<FrameSocket> socket_;
  std::vector<std::byte> expected_;
  protocol::Header headers_;
  bool ended_ = false;

 private:
  const protocol::Header& Next(std::span<const std::byte>) {
    headers_ = {.type = Type::kData, .fd = 1, .exec = headers_.exec + 1, .offset = 99};
    return headers_;
  }
};

TEST_F(FrameSocketTest, FramesSentInPlaceArriveInOrderWithTheOthers) {
  auto large = Body(protocol::kMaxBody, 1), larger = Body(20'000, 2), small = Body(100, 3);
  Copied(small);
  for (int i = 0; i < 20; i++) {  // More than one write takes.
    InPlace(large);
    InPlace(larger);
    if (i % 3 == 0) InPlace(small);
    if (i % 4 == 0) Copied(small);
    if (i % 5 == 0) Copied(large);
  }
  socket_->Flush();
  // The peer has not read yet: what is still to go is not looked for here any more.
  for (auto* body : {&large, &larger, &small}) std::fill(body->begin(), body->end(), std::byte{});
  EXPECT_GT(socket_->queued(), 0u);
  EXPECT_TRUE(Arrived() == expected_);
  EXPECT_EQ(socket_->queued(), 0u);
}

TEST_F(FrameSocketTest, ARunWaitsForTheFlush) {
  auto body = Body(3000, 1);
  InPlace(body);
  EXPECT_TRUE(Arrived().empty());
  socket_->Flush();
  EXPECT_TRUE(Arrived() == expected_);
}

TEST_F(FrameSocketTest, APeerThatHasGoneEndsItOnce) {
  auto body = Body(30'000, 1);
  peer_.Reset();
  for (int i = 0; i < 3; i++) InPlace(body);
  socket_->Flush();
  for (int i = 0; i < 3; i++) (void)loop_->RunOnce(Deadline::After(Clock::duration::zero()));
  EXPECT_TRUE(ended_);
}

}  // namespace
}  // namespace msb::sandbox
