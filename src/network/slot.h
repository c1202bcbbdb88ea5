// SPDX-License-Identifier: Apache-2.0
// What belongs to a sandbox by its number on this host: the name of its link and two addresses.
//
//   host   mbx-7  10.44.0.14/31 ---- eth0  10.44.0.15/31   sandbox
//
// A range is divided into pairs of addresses (RFC 3021), so that a link has two ends and nobody
// else is on it.

#pragma once

#include <cstdint>
#include <string>

#include "base/text.h"
#include "network/address.h"

namespace msb::network {

inline constexpr std::string_view kLinkPrefix = "mbx-";
inline constexpr std::string_view kInnerLink = "eth0";
inline constexpr int kPairBits = 31;

// The first that the host has no way into is taken.
inline constexpr Cidr kRanges[] = {
    {0x0A2C0000, 16},  // 10.44.0.0
    {0x0ABC0000, 16},  // 10.188.0.0
    {0xAC1D0000, 16},  // 172.29.0.0
    {0xC0A8C000, 18},  // 192.168.192.0
};
// As many as the smallest range has pairs; 0 is left out: its address ends in .0.
inline constexpr uint32_t kFirstSlot = 1, kSlots = 8192;

struct Slot {
  uint32_t number = 0;
  uint32_t gateway = 0;  // The host's end.
  uint32_t address = 0;  // The sandbox's end.

  static Slot Of(uint32_t number, const Cidr& range) {
    return {number, range.address + 2 * number, range.address + 2 * number + 1};
  }
  std::string Link() const { return Cat(kLinkPrefix, number); }
};

}  // namespace msb::network
