// SPDX-License-Identifier: Apache-2.0
// A pair of streams against a naive model: whatever is lost with a connection, every byte arrives
// once and in order.

#include "protocol/stream.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>

#include "base/bytes.h"

namespace msb::protocol {
namespace {

std::vector<std::byte> Pattern(uint64_t from, size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(((from + i) * 2654435761u) >> 13);
  return bytes;
}

TEST(SendStream, HasNoRoomBeforeTheFirstCredit) {
  SendStream stream;
  EXPECT_EQ(stream.Room(), 0u);
  EXPECT_TRUE(stream.Space(100).empty());
  ASSERT_TRUE(stream.OnCredit(0, 10).ok());
  EXPECT_EQ(stream.Room(), 10u);
}

TEST(SendStream, HoldsNoMoreThanItsBoundWhateverTheCredit) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, ~0ull).ok());
  EXPECT_EQ(stream.Room(), kMaxHeld);
  stream.Append(Pattern(0, kMaxHeld));
  EXPECT_EQ(stream.Room(), 0u);
}

TEST(SendStream, RefusesAnImpossibleCredit) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, 100).ok());
  stream.Append(Pattern(0, 50));
  stream.Sent(20);
  EXPECT_FALSE(stream.OnCredit(21, 200).ok()) << "acknowledges what was not sent";
  ASSERT_TRUE(stream.OnCredit(20, 200).ok());
  EXPECT_FALSE(stream.OnCredit(19, 200).ok()) << "goes back";
  EXPECT_FALSE(stream.OnCredit(20, 199).ok()) << "takes credit back";
}

TEST(SendStream, AcceptsAfterARewindWhatTheReceiverHadAlready) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, 100).ok());
  stream.Append(Pattern(0, 50));
  stream.Sent(50);
  stream.Rewind();
  ASSERT_TRUE(stream.OnCredit(30, 130).ok());
  auto chunk = stream.Next(100);
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->offset, 30u);
  EXPECT_EQ(std::vector(chunk->bytes.begin(), chunk->bytes.end()), Pattern(30, 20));
}

TEST(SendStream, AHeaderBeforeAChunkCostsNothingOfTheStream) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, kMaxHeld).ok());
  stream.Append(Pattern(0, 4096));
  for (size_t sent = 0; sent < 4096;) {
    auto chunk = stream.Next(500);
    ASSERT_TRUE(chunk);
    auto framed = stream.Framed(*chunk);
    ASSERT_EQ(framed.size(), kHeaderSize + chunk->bytes.size());
    EXPECT_EQ(framed.data() + kHeaderSize, chunk->bytes.data());
    std::vector<std::byte> covered(framed.begin(), framed.begin() + kHeaderSize);
    std::fill_n(framed.begin(), kHeaderSize, std::byte{0xee});
    EXPECT_EQ(std::vector(framed.begin() + kHeaderSize, framed.end()),
              Pattern(sent, chunk->bytes.size()));
    std::copy(covered.begin(), covered.end(), framed.begin());
    stream.Sent(chunk->bytes.size());
    sent += chunk->bytes.size();
  }
  stream.Rewind();
  auto all = stream.Next(4096);
  ASSERT_TRUE(all);
  EXPECT_EQ(std::vector(all->bytes.begin(), all->bytes.end()), Pattern(0, 4096));
}

TEST(SendStream, EndsOnceAndAgainAfterARewind) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, 100).ok());
  stream.Append(Pattern(0, 5));
  stream.Close();
  EXPECT_FALSE(stream.EofDue());
  stream.Sent(5);
  EXPECT_EQ(stream.EofDue(), 5u);
  stream.EofSent();
  EXPECT_FALSE(stream.EofDue());
  EXPECT_TRUE(stream.done());
  stream.Rewind();
  EXPECT_FALSE(stream.done());
  stream.Sent(5);
  EXPECT_EQ(stream.EofDue(), 5u);
}

TEST(SendStream, AResetDropsEverything) {
  SendStream stream;
  ASSERT_TRUE(stream.OnCredit(0, 100).ok());
  stream.Append(Pattern(0, 50));
  stream.Reset();
  EXPECT_EQ(stream.Room(), 0u);
  EXPECT_FALSE(stream.Next(10));
  EXPECT_FALSE(stream.EofDue());
  EXPECT_TRUE(stream.done());
  EXPECT_EQ(stream.held(), 0u);
  EXPECT_TRUE(stream.OnCredit(3, 4).ok()) << "late credit is no fault";
}

TEST(ReceiveStream, RefusesGapsCreditOverrunsAndDataAfterTheEnd) {
  ReceiveStream stream(100);
  EXPECT_FALSE(stream.OnData(0, Pattern(0, 1)).ok()) << "no credit given yet";
  stream.CreditSent();
  EXPECT_FALSE(stream.OnData(1, Pattern(1, 1)).ok()) << "gap";
  EXPECT_FALSE(stream.OnData(0, Pattern(0, 101)).ok()) << "beyond the credit";
  EXPECT_FALSE(stream.OnData(~0ull, Pattern(0, 2)).ok()) << "overflow";
  ASSERT_TRUE(stream.OnData(0, Pattern(0, 10)).ok());
  EXPECT_FALSE(stream.OnEof(9).ok());
  EXPECT_FALSE(stream.OnEof(11).ok());
  ASSERT_TRUE(stream.OnEof(10).ok());
  EXPECT_TRUE(stream.OnEof(10).ok()) << "repeated after a reconnect";
  EXPECT_FALSE(stream.OnEof(11).ok());
  EXPECT_FALSE(stream.OnData(10, Pattern(10, 1)).ok());
  EXPECT_TRUE(stream.OnData(5, Pattern(5, 5)).ok()) << "repeated after a reconnect";
  EXPECT_FALSE(stream.ended());
  stream.Consumed(10);
  EXPECT_TRUE(stream.ended());
}

TEST(ReceiveStream, GivesCreditAtTheStartAndAfterHalfAWindow) {
  ReceiveStream stream(100);
  auto credit = stream.CreditDue();
  ASSERT_TRUE(credit);
  EXPECT_EQ(credit->limit, 100u);
  stream.CreditSent();
  EXPECT_FALSE(stream.CreditDue());
  ASSERT_TRUE(stream.OnData(0, Pattern(0, 80)).ok());
  stream.Consumed(49);
  EXPECT_FALSE(stream.CreditDue());
  stream.Consumed(1);
  credit = stream.CreditDue();
  ASSERT_TRUE(credit);
  EXPECT_EQ(credit->consumed, 50u);
  EXPECT_EQ(credit->limit, 150u);
}

// One direction of a connection: frames in flight, lost all at once.
struct Wire {
  struct Item {
    enum { kData, kEof, kCredit } kind;
    uint64_t offset = 0, limit = 0;
    std::vector<std::byte> bytes;
  };
  std::deque<Item> data, credit;
};

class Pair {
 public:
  explicit Pair(uint64_t window) : receive_(window) {}

  void Append(size_t count) {
    count = std::min(count, send_.Room());
    send_.Append(Pattern(send_.appended(), count));
  }
  void Close() { send_.Close(); }
  void Send(size_t max) {
    if (auto chunk = send_.Next(max)) {
      wire_.data.push_back(
          {Wire::Item::kData, chunk->offset, 0, {chunk->bytes.begin(), chunk->bytes.end()}});
      send_.Sent(chunk->bytes.size());
    } else if (auto eof = send_.EofDue()) {
      wire_.data.push_back({Wire::Item::kEof, *eof, 0, {}});
      send_.EofSent();
    }
  }
  void DeliverData() {
    if (wire_.data.empty()) return;
    auto item = std::move(wire_.data.front());
    wire_.data.pop_front();
    if (item.kind == Wire::Item::kEof) {
      RC_ASSERT(receive_.OnEof(item.offset).ok());
      return;
    }
    auto fresh = receive_.OnData(item.offset, item.bytes);
    RC_ASSERT(fresh.ok());
    arrived_.insert(arrived_.end(), fresh->begin(), fresh->end());
  }
  void Consume(size_t count) {
    receive_.Consumed(std::min<uint64_t>(count, receive_.received() - receive_.consumed()));
  }
  void SendCredit() {
    if (auto credit = receive_.CreditDue()) {
      wire_.credit.push_back({Wire::Item::kCredit, credit->consumed, credit->limit, {}});
      receive_.CreditSent();
    }
  }
  void DeliverCredit() {
    if (wire_.credit.empty()) return;
    auto item = wire_.credit.front();
    wire_.credit.pop_front();
    RC_ASSERT(send_.OnCredit(item.offset, item.limit).ok());
  }
  void Reconnect() {
    wire_ = {};
    send_.Rewind();
    receive_.Rewind();
  }
  void Finish() {
    Close();
    for (int i = 0; i < 100000 && !receive_.ended(); ++i) {
      SendCredit();
      DeliverCredit();
      Send(1 << 15);
      DeliverData();
      Consume(1 << 15);
    }
  }
  void Check() {
    RC_ASSERT(receive_.ended());
    RC_ASSERT(send_.done());
    RC_ASSERT(arrived_ == Pattern(0, arrived_.size()));
    RC_ASSERT(arrived_.size() == send_.appended());
  }

 private:
  SendStream send_;
  ReceiveStream receive_;
  Wire wire_;
  std::vector<std::byte> arrived_;
};

RC_GTEST_PROP(Streams, LoseAndDoubleNothingUnderRandomReconnects, ()) {
  Pair pair(*rc::gen::inRange<uint64_t>(1, 20000));
  auto steps = *rc::gen::container<std::vector<std::pair<int, size_t>>>(
      rc::gen::pair(rc::gen::inRange(0, 16), rc::gen::inRange<size_t>(1, 9000)));
  for (auto [what, count] : steps) {
    switch (what) {
      case 0:
      case 1:
      case 2:
        pair.Append(count);
        break;
      case 3:
      case 4:
      case 5:
        pair.Send(count);
        break;
      case 6:
      case 7:
      case 8:
        pair.DeliverData();
        break;
      case 9:
      case 10:
        pair.Consume(count);
        break;
      case 11:
      case 12:
        pair.SendCredit();
        break;
      case 13:
      case 14:
        pair.DeliverCredit();
        break;
      default:
        pair.Reconnect();
        break;
    }
  }
  pair.Finish();
  pair.Check();
}

}  // namespace
}  // namespace msb::protocol
