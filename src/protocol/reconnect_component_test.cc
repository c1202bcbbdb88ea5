// SPDX-License-Identifier: Apache-2.0
// The reconnect rule on real sockets: two ends exchange bytes both ways through a relay that dies
// after any number of bytes; on the next connection both drop half frames, rewind and go on.
// Nothing may be lost or doubled, wherever the cut was.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/fd.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/stream.h"

namespace msb::protocol {
namespace {

std::vector<std::byte> Payload(size_t count, unsigned seed) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i * 7 + seed) % 251);
  return bytes;
}

// One side: sends `out` on stream 1, receives on stream 1, eats what it gets at once.
class End {
 public:
  explicit End(std::vector<std::byte> out) : rest_(std::move(out)), receive_(64) {}

  void Connect(UniqueFd fd, uint64_t epoch) {
    fd_ = std::move(fd);
    reader_.Reset();
    outgoing_.clear();
    greeted_ = false;
    send_.Rewind();
    receive_.Rewind();
    AppendFrame(outgoing_, {.type = Type::kHello}, Encode(Hello{.epoch = epoch}));
  }

  // One round of reading and writing without waiting; false when the connection is gone.
  bool Step() {
    while (true) {
      auto space = reader_.Space();
      ssize_t n = ::recv(fd_.get(), space.data(), space.size(), MSG_DONTWAIT);
      if (n == 0) return false;
      if (n < 0) break;
      reader_.Filled(static_cast<size_t>(n));
      while (auto frame = *reader_.Next()) Take(*frame);
    }
    if (greeted_) Produce();
    while (!outgoing_.empty()) {
      ssize_t n =
          ::send(fd_.get(), outgoing_.data(), outgoing_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n <= 0) break;
      outgoing_.erase(outgoing_.begin(), outgoing_.begin() + n);
    }
    return true;
  }

  bool finished() const { return receive_.ended() && send_.done() && outgoing_.empty(); }
  const std::vector<std::byte>& arrived() const { return arrived_; }

 private:
  void Take(const Frame& frame) {
    const Header& header = frame.header;
    if (header.type == Type::kHello) {
      greeted_ = true;
    } else if (header.type == Type::kData) {
      auto fresh = *receive_.OnData(header.offset, frame.body);
      arrived_.insert(arrived_.end(), fresh.begin(), fresh.end());
      receive_.Consumed(fresh.size());
    } else if (header.type == Type::kEof) {
      CHECK(receive_.OnEof(header.offset).ok());
    } else if (header.type == Type::kCredit) {
      CHECK(send_.OnCredit(header.offset, *ParseU64(frame.body)).ok());
    }
  }

  void Produce() {
    size_t count = std::min(send_.Room(), rest_.size());
    send_.Append(std::span(rest_).first(count));
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(count));
    if (rest_.empty()) send_.Close();
    if (auto credit = receive_.CreditDue()) {
      AppendFrame(outgoing_,
                  {.type = Type::kCredit, .fd = 1, .exec = 1, .offset = credit->consumed},
                  EncodeU64(credit->limit));
      receive_.CreditSent();
    }
    while (auto chunk = send_.Next(24)) {
      AppendFrame(outgoing_, {.type = Type::kData, .fd = 1, .exec = 1, .offset = chunk->offset},
                  chunk->bytes);
      send_.Sent(chunk->bytes.size());
    }
    if (auto eof = send_.EofDue()) {
      AppendFrame(outgoing_, {.type = Type::kEof, .fd = 1, .exec = 1, .offset = *eof});
      send_.EofSent();
    }
  }

  std::vector<std::byte> rest_;
  SendStream send_;
  ReceiveStream receive_;
  FrameReader reader_;
  std::vector<std::byte> outgoing_;
  std::vector<std::byte> arrived_;
  UniqueFd fd_;
  bool greeted_ = false;
};

struct Connection {
  UniqueFd end, relay;
};

Connection MakeConnection() {
  int fds[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Moves at most `budget` bytes in total; returns how many are left.
size_t Relay(const UniqueFd& from, const UniqueFd& to, size_t budget) {
  std::byte buffer[4096];
  ssize_t n = ::recv(from.get(), buffer, std::min(budget, sizeof buffer), MSG_DONTWAIT);
  if (n <= 0) return budget;
  CHECK(::send(to.get(), buffer, static_cast<size_t>(n), MSG_NOSIGNAL) == n);
  return budget - static_cast<size_t>(n);
}

// Runs both ends until they are finished or `budget` bytes have passed; returns what is left.
size_t RunConnection(End& a, End& b, uint64_t epoch, size_t budget) {
  auto left = MakeConnection(), right = MakeConnection();
  a.Connect(std::move(left.end), epoch);
  b.Connect(std::move(right.end), epoch);
  for (int round = 0; round < 10000 && budget > 0; ++round) {
    a.Step();
    budget = Relay(left.relay, right.relay, budget);
    b.Step();
    budget = Relay(right.relay, left.relay, budget);
    if (a.finished() && b.finished()) break;
  }
  // What the relay delivered is read before the death is seen.
  left.relay.Reset();
  right.relay.Reset();
  a.Step();
  b.Step();
  return budget;
}

TEST(Reconnect, AtEveryByteOfAnExchangeLosesAndDoublesNothing) {
  auto from_a = Payload(300, 1), from_b = Payload(170, 2);
  constexpr size_t kPlenty = 1 << 20;
  size_t total;
  {
    End a(from_a), b(from_b);
    total = kPlenty - RunConnection(a, b, 1, kPlenty);
    ASSERT_EQ(b.arrived(), from_a);
  }
  ASSERT_GT(total, 500u);
  for (size_t cut = 0; cut <= total; ++cut) {
    SCOPED_TRACE(cut);
    End a(from_a), b(from_b);
    if (cut > 0) RunConnection(a, b, 1, cut);
    RunConnection(a, b, 2, kPlenty);
    ASSERT_TRUE(a.finished() && b.finished());
    ASSERT_EQ(b.arrived(), from_a);
    ASSERT_EQ(a.arrived(), from_b);
  }
}

TEST(Reconnect, AgainAndAgainStillEnds) {
  auto from_a = Payload(2000, 3), from_b = Payload(1000, 4);
  // Enough for both hellos, both credits and a window each way: less makes no progress.
  for (size_t budget = 400; budget < 900; budget += 37) {
    End a(from_a), b(from_b);
    for (uint64_t epoch = 1; epoch < 300 && !(a.finished() && b.finished()); ++epoch)
      RunConnection(a, b, epoch, budget);
    ASSERT_EQ(b.arrived(), from_a) << budget;
    ASSERT_EQ(a.arrived(), from_b) << budget;
  }
}

}  // namespace
}  // namespace msb::protocol
