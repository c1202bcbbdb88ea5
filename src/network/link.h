// SPDX-License-Identifier: Apache-2.0
// Interfaces, addresses and routes by rtnetlink(7), in the network namespace of the socket.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "network/address.h"
#include "sys/netlink.h"

namespace msb::network {

using sys::NetlinkSocket;

Result<std::optional<uint32_t>> FindLink(NetlinkSocket& route, std::string_view name);
// None of that name is fine.
Result<void> RemoveLink(NetlinkSocket& route, std::string_view name);
// A veth(4) pair: `name` here, `inner` in the network namespace `theirs`; both down.
Result<void> MakePair(NetlinkSocket& route, std::string_view name, std::string_view inner,
                      BorrowedFd theirs);
enum class Ipv6 : uint8_t { kNone, kThere };
// Up, with an address, and none of IPv6; answers only for that address, forwards, and sends and
// takes no redirects.
Result<void> RaiseHostEnd(NetlinkSocket& route, uint32_t index, const Cidr& address, Ipv6 ipv6);
// Up, with an address, and everything else by `gateway`.
Result<void> ConfigureInner(NetlinkSocket& route, uint32_t index, const Cidr& address,
                            uint32_t gateway);

// How packets to an address leave, by all of the host's rules: nullopt when they do not.
struct Way {
  int bits = 0;  // Of the destination that the route names: 0 is the default route.
  uint32_t index = 0;
};
Result<std::optional<Way>> FindWay(NetlinkSocket& route, uint32_t address);

// Names of the interfaces that IPv4 routes of the main table lead through.
Result<std::vector<std::string>> ListRoutedLinks(NetlinkSocket& route);
// IPv4 addresses of all interfaces but those of 127.0.0.0/8.
Result<std::vector<uint32_t>> ListAddresses(NetlinkSocket& route);

}  // namespace msb::network
