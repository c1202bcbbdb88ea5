// SPDX-License-Identifier: Apache-2.0
// IPv4 addresses, blocks of them and published ports as users write them. Addresses are numbers in
// the host's byte order.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace msb::network {

// "10.1.2.3", four decimal numbers; nothing else that inet_aton(3) would take.
Result<uint32_t> ParseAddress(std::string_view text);
std::string FormatAddress(uint32_t address);

// A block of addresses: those that begin with the first `bits` bits of `address`.
struct Cidr {
  uint32_t address = 0;
  int bits = 32;

  uint32_t Mask() const { return bits == 0 ? 0 : ~uint32_t{0} << (32 - bits); }
  bool Contains(uint32_t other) const { return ((other ^ address) & Mask()) == 0; }
  bool operator==(const Cidr&) const = default;
};

// "10.0.0.0/8"; an address alone is a block of one. Bits behind the block's are an error.
Result<Cidr> ParseCidr(std::string_view text);
std::string FormatCidr(const Cidr& cidr);

enum class Transport : uint8_t { kTcp, kUdp };

// A port of the host that leads into the sandbox.
struct PublishedPort {
  uint32_t address = 0x7F000001;  // Of the host, at which it listens: 127.0.0.1.
  uint16_t host_port = 0;
  uint16_t port = 0;  // In the sandbox.
  Transport transport = Transport::kTcp;

  bool operator==(const PublishedPort&) const = default;
};

// "[IP:]HOSTPORT:PORT[/tcp|/udp]".
Result<PublishedPort> ParsePublishedPort(std::string_view text);
// With everything said: "127.0.0.1:8080:80/tcp".
std::string FormatPublishedPort(const PublishedPort& port);

}  // namespace msb::network
