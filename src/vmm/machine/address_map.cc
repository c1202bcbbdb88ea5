// SPDX-License-Identifier: Apache-2.0
// From address to device.

#include "vmm/machine/address_map.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "vmm/arch/x86_64/io_apic.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/virtio/mmio.h"

namespace msb::vmm {

std::string HexAddress(uint64_t address) {
  char digits[16];
  auto end = std::to_chars(digits, digits + sizeof digits, address, 16).ptr;
  return Cat("0x", std::string_view(digits, static_cast<size_t>(end - digits)));
}

MmioTransport* AddressMap::DeviceAt(uint64_t address, uint32_t& offset) const {
  if (address < kVirtioAddress.value) return nullptr;
  uint64_t distance = address - kVirtioAddress.value;
  if (distance / kMmioBytes >= devices_.size()) return nullptr;
  offset = static_cast<uint32_t>(distance % kMmioBytes);
  return devices_[distance / kMmioBytes];
}

void AddressMap::Read(uint64_t address, std::span<std::byte> out) const {
  uint32_t offset = 0;
  if (MmioTransport* device = DeviceAt(address, offset)) return device->Read(offset, out);
  if (uint64_t at = address - kIoApicAddress.value; at < kIoApicSize) return io_apic_.Read(at, out);
  std::fill(out.begin(), out.end(), std::byte{0xff});
}

void AddressMap::Write(uint64_t address, std::span<const std::byte> in) const {
  uint32_t offset = 0;
  if (MmioTransport* device = DeviceAt(address, offset)) return device->Write(offset, in);
  if (uint64_t at = address - kIoApicAddress.value; at < kIoApicSize) io_apic_.Write(at, in);
}

}  // namespace msb::vmm
