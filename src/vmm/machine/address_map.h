// SPDX-License-Identifier: Apache-2.0
// What lies at the guest's physical addresses that are not memory, and at its ports.
//
//   0xd000'0000 + n * 0x200   virtio device n
//   0xfec0'0000               I/O APIC
//
// All else reads as ones and takes writes into the void, as an empty bus does. No port is there:
// no serial line, no clock, no keyboard controller, no PIC; Linux looks for some and finds ones.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

class IoApic;
class MmioTransport;

inline constexpr GuestAddress kVirtioAddress{0xd000'0000};

std::string HexAddress(uint64_t address);  // "0xd0000000"

// Used by all vCPU threads at once; constant after its making.
class AddressMap {
 public:
  AddressMap(IoApic& io_apic, std::span<MmioTransport* const> devices)
      : io_apic_(io_apic), devices_(devices) {}

  void Read(uint64_t address, std::span<std::byte> out) const;
  void Write(uint64_t address, std::span<const std::byte> in) const;

 private:
  MmioTransport* DeviceAt(uint64_t address, uint32_t& offset) const;
  IoApic& io_apic_;
  std::span<MmioTransport* const> devices_;
};

}  // namespace msb::vmm
