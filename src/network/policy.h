// SPDX-License-Identifier: Apache-2.0
// What a sandbox may reach: the internet, its name servers, and what was allowed by name.

#pragma once

#include <cstdint>
#include <vector>

#include "network/address.h"

namespace msb::network {

struct Policy {
  std::vector<Cidr> allowed;      // Of what is refused otherwise.
  bool host = false;              // The host itself, at any of its addresses.
  std::vector<uint32_t> servers;  // Name servers: port 53, wherever they are.
};

// Not the internet's (RFC 6890, and RFC 1918, 6598, 3927, 5771): neighbours of the host, its
// containers, its provider's metadata service, and what reaches many at once.
inline constexpr Cidr kRefused[] = {
    {0x00000000, 8},   // 0.0.0.0: this network.
    {0x0A000000, 8},   // 10.0.0.0: private.
    {0x64400000, 10},  // 100.64.0.0: shared by a provider's customers; some metadata services.
    {0x7F000000, 8},   // 127.0.0.0: loopback.
    {0xA9FE0000, 16},  // 169.254.0.0: link-local, metadata services.
    {0xAC100000, 12},  // 172.16.0.0: private.
    {0xC0000000, 24},  // 192.0.0.0: protocol assignments; some metadata services.
    {0xC0A80000, 16},  // 192.168.0.0: private.
    {0xC6120000, 15},  // 198.18.0.0: benchmarks, in use as private.
    {0xE0000000, 4},   // 224.0.0.0: multicast.
    {0xF0000000, 4},   // 240.0.0.0: reserved, and the broadcast.
};

}  // namespace msb::network
