// SPDX-License-Identifier: Apache-2.0
// A few datagrams a turn; the loop calls again as long as there are more.

#include "network/udp_relay.h"

#include <algorithm>
#include <vector>

#include "sys/file.h"
#include "sys/socket.h"

namespace msb::network {
namespace {

constexpr int kRounds = 16;
constexpr size_t kLargest = 65'536;

}  // namespace

Result<void> UdpRelay::Begin(const sys::InetAddress& to) {
  to_ = to;
  watching_ =
      TRY(loop_.Watch(socket_, event::Interest::kRead, [this](event::Ready) { CarryIn(); }));
  return {};
}

Result<UdpRelay::Peer*> UdpRelay::Find(const sys::InetAddress& from) {
  if (auto found = peers_.find(from); found != peers_.end()) return &found->second;
  if (peers_.size() == kMaxPeers)
    peers_.erase(std::min_element(peers_.begin(), peers_.end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    }));
  Peer peer;
  peer.socket = TRY(sys::ConnectUdp(to_));
  peer.watching = TRY(loop_.Watch(peer.socket, event::Interest::kRead,
                                  [this, from](event::Ready) { CarryOut(from); }));
  return &peers_.emplace(from, std::move(peer)).first->second;
}

void UdpRelay::CarryIn() {
  std::vector<std::byte> buffer(kLargest);
  for (int round = 0; round < kRounds; round++) {
    auto got = sys::ReceiveFrom(socket_, buffer);
    if (!got || !*got) return;
    auto peer = Find((*got)->from);
    if (!peer) continue;
    (*peer)->used = ++uses_;
    // An error is of an earlier one that found nobody; and datagrams may be lost.
    (void)sys::SendSome((*peer)->socket, std::span(buffer).first((*got)->bytes));
  }
}

void UdpRelay::CarryOut(const sys::InetAddress& to) {
  auto found = peers_.find(to);
  if (found == peers_.end()) return;
  std::vector<std::byte> buffer(kLargest);
  for (int round = 0; round < kRounds; round++) {
    auto got = sys::ReadSome(found->second.socket, buffer);
    if (!got) return;
    found->second.used = ++uses_;
    sys::SendTo(socket_, std::span(buffer).first(*got), to);
  }
}

}  // namespace msb::network
