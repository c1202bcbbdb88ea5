// SPDX-License-Identifier: Apache-2.0
// A relay for each port.

#include "network/publisher.h"

#include <cerrno>

#include "base/text.h"

namespace msb::network {
namespace {

Result<UniqueFd> Open(const PublishedPort& port) {
  sys::InetAddress at{port.address, port.host_port};
  auto socket = port.transport == Transport::kTcp ? sys::ListenTcp(at) : sys::BindUdp(at);
  if (socket) return socket;
  int error = socket.error().sys_errno();
  return std::move(std::move(socket).error())
      .Remedy(error == EADDRINUSE      ? "another program has this port: publish another"
              : error == EACCES        ? "ports below 1024 are for root: publish another"
              : error == EADDRNOTAVAIL ? "name an address of this host"
                                       : "")
      .Context(Cat("--publish ", FormatPublishedPort(port)));
}

}  // namespace

Result<Publisher> Publisher::Listen(std::span<const PublishedPort> ports) {
  Publisher publisher(TRY(event::Loop::Create()));
  event::Loop& loop = *publisher.loop_;
  for (const PublishedPort& port : ports) {
    UniqueFd socket = TRY(Open(port));
    if (port.transport == Transport::kTcp)
      publisher.tcp_.push_back({std::make_unique<TcpRelay>(loop, std::move(socket)), port.port});
    else
      publisher.udp_.push_back({std::make_unique<UdpRelay>(loop, std::move(socket)), port.port});
  }
  return publisher;
}

Result<void> Publisher::Begin(uint32_t address) {
  for (Tcp& one : tcp_) TRY(one.relay->Begin({address, one.port}));
  for (Udp& one : udp_) TRY(one.relay->Begin({address, one.port}));
  return {};
}

}  // namespace msb::network
