// SPDX-License-Identifier: Apache-2.0
// Both sockets of a connection are watched for edges, and everything that can be moved is moved on
// each; but never for long: who floods one port delays nothing else.

#include "network/tcp_relay.h"

#include <array>
#include <cerrno>
#include <span>

#include "sys/file.h"
#include "sys/socket.h"

namespace msb::network {
namespace {

constexpr int kRounds = 16;  // Before others have their turn.

enum class Moved : uint8_t { kWaits, kMore, kEnded, kBroken };

struct Direction {
  std::array<std::byte, 16 * 1024> held;
  size_t begin = 0, end = 0;
  bool no_more = false;  // `from` is at its end.
  bool told = false;     // And `to` knows.

  Moved Step(BorrowedFd from, BorrowedFd to);
};

bool Waits(const Error& error) { return error.sys_errno() == EAGAIN; }

Moved Direction::Step(BorrowedFd from, BorrowedFd to) {
  if (begin < end) {
    auto sent = sys::SendSome(to, std::span(held).subspan(begin, end - begin));
    // Before it is connected, a socket says ENOTCONN or EAGAIN.
    if (!sent)
      return Waits(sent.error()) || sent.error().sys_errno() == ENOTCONN ? Moved::kWaits
                                                                         : Moved::kBroken;
    begin += *sent;
    return Moved::kMore;
  }
  if (no_more) {
    if (!told) sys::ShutDownWriting(to);
    told = true;
    return Moved::kEnded;
  }
  auto got = sys::ReadSome(from, held);
  if (!got && got.error().sys_errno() == ENOTCONN) return Moved::kWaits;
  if (!got) return Waits(got.error()) ? Moved::kWaits : Moved::kBroken;
  begin = 0;
  end = *got;
  no_more = end == 0;
  return Moved::kMore;
}

}  // namespace

struct TcpRelay::Connection {
  UniqueFd outer, inner;
  Direction in, out;
  bool queued = false;  // For another turn.
  event::Loop::Registration outer_watch, inner_watch;
};

TcpRelay::TcpRelay(event::Loop& loop, UniqueFd listener)
    : loop_(loop), listener_(std::move(listener)) {}
TcpRelay::~TcpRelay() = default;

Result<void> TcpRelay::Begin(const sys::InetAddress& to) {
  to_ = to;
  watching_ =
      TRY(loop_.Watch(listener_, event::Interest::kRead, [this](event::Ready) { Accept(); }));
  return {};
}

void TcpRelay::Accept() {
  auto outer = sys::Accept(listener_);
  if (!outer || !*outer) return;
  // What cannot be opened is closed, which the other side sees.
  (void)Open(std::move(**outer));
  if (connections_.size() == kMaxConnections) (void)watching_.SetInterest(event::Interest::kNone);
}

Result<void> TcpRelay::Open(UniqueFd outer) {
  auto connection = std::make_unique<Connection>();
  connection->outer = std::move(outer);
  connection->inner = TRY(sys::ConnectTcp(to_));
  uint64_t id = next_++;
  auto move = [this, id](event::Ready) { Move(id); };
  connection->outer_watch =
      TRY(loop_.Watch(connection->outer, event::Interest::kReadWrite, move, event::Trigger::kEdge));
  connection->inner_watch =
      TRY(loop_.Watch(connection->inner, event::Interest::kReadWrite, move, event::Trigger::kEdge));
  connections_.emplace(id, std::move(connection));
  return {};
}

void TcpRelay::Move(uint64_t id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  connection.queued = false;
  Moved in = Moved::kMore, out = Moved::kMore;
  for (int round = 0; round < kRounds && (in == Moved::kMore || out == Moved::kMore); round++) {
    in = connection.in.Step(connection.outer, connection.inner);
    out = connection.out.Step(connection.inner, connection.outer);
    if (in == Moved::kBroken || out == Moved::kBroken) {
      sys::BreakOnClose(connection.outer);
      sys::BreakOnClose(connection.inner);
      return Remove(id);
    }
  }
  if (in == Moved::kEnded && out == Moved::kEnded) return Remove(id);
  if ((in != Moved::kMore && out != Moved::kMore) || connection.queued) return;
  connection.queued = true;
  loop_.Post([this, id] { Move(id); });
}

void TcpRelay::Remove(uint64_t id) {
  connections_.erase(id);
  (void)watching_.SetInterest(event::Interest::kRead);
}

}  // namespace msb::network
