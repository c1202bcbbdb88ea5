// SPDX-License-Identifier: Apache-2.0
// Connections to a port of the host, carried on to one in the sandbox: both directions, each with
// one buffer, so that who reads slowly slows the writer down; an end of one direction stays an end
// of that direction only.

#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "sys/inet_socket.h"

namespace msb::network {

class TcpRelay {
 public:
  TcpRelay(event::Loop& loop, UniqueFd listener);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  // Until then connections wait to be taken.
  Result<void> Begin(const sys::InetAddress& to);

  static constexpr size_t kMaxConnections = 128;  // More wait.

 private:
  struct Connection;
  void Accept();
  Result<void> Open(UniqueFd outer);
  void Move(uint64_t id);
  void Remove(uint64_t id);

  event::Loop& loop_;
  UniqueFd listener_;
  event::Loop::Registration watching_;
  sys::InetAddress to_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t next_ = 1;
};

}  // namespace msb::network
