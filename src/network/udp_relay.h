// SPDX-License-Identifier: Apache-2.0
// Datagrams to a port of the host, carried on to one in the sandbox; each peer has a socket of its
// own there, so that answers find the way back to it.

#pragma once

#include <cstdint>
#include <map>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "sys/inet_socket.h"

namespace msb::network {

class UdpRelay {
 public:
  UdpRelay(event::Loop& loop, UniqueFd socket) : loop_(loop), socket_(std::move(socket)) {}
  UdpRelay(const UdpRelay&) = delete;
  UdpRelay& operator=(const UdpRelay&) = delete;

  // Until then datagrams wait, as many as a socket holds.
  Result<void> Begin(const sys::InetAddress& to);

  static constexpr size_t kMaxPeers = 64;  // Whoever was silent longest makes room.

 private:
  struct Peer {
    UniqueFd socket;
    event::Loop::Registration watching;
    uint64_t used = 0;
  };
  void CarryIn();
  void CarryOut(const sys::InetAddress& peer);
  Result<Peer*> Find(const sys::InetAddress& from);

  event::Loop& loop_;
  UniqueFd socket_;
  event::Loop::Registration watching_;
  sys::InetAddress to_;
  std::map<sys::InetAddress, Peer> peers_;
  uint64_t uses_ = 0;
};

}  // namespace msb::network
