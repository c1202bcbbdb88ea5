// SPDX-License-Identifier: Apache-2.0
// TCP and UDP over IPv4; addresses are numbers in the host's byte order. Every socket is
// non-blocking and close-on-exec.

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

struct InetAddress {
  uint32_t address = 0;
  uint16_t port = 0;

  auto operator<=>(const InetAddress&) const = default;
};

Result<UniqueFd> ListenTcp(const InetAddress& at, int backlog = 256);
// Begins: the socket is writable, or has an error, when it is decided.
Result<UniqueFd> ConnectTcp(const InetAddress& to);
Result<UniqueFd> BindUdp(const InetAddress& at);
Result<UniqueFd> ConnectUdp(const InetAddress& to);
// Where a socket is bound.
Result<InetAddress> LocalAddress(BorrowedFd socket);

struct Datagram {
  size_t bytes = 0;
  InetAddress from;
};
// nullopt: there is none now.
Result<std::optional<Datagram>> ReceiveFrom(BorrowedFd socket, std::span<std::byte> buffer);
// What cannot be sent now is lost, as datagrams may be.
void SendTo(BorrowedFd socket, std::span<const std::byte> bytes, const InetAddress& to);

// Nothing more is written to the other side.
void ShutDownWriting(BorrowedFd socket);
// Closing it tells the other side that the connection is broken (RST), not at its end.
void BreakOnClose(BorrowedFd socket);

}  // namespace msb::sys
