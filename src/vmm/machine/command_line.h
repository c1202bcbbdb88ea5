// SPDX-License-Identifier: Apache-2.0
// The kernel's command line on KVM. docs/design/001-guest-boot.md has the emulated machine's.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

struct DeviceWindow {
  GuestAddress address;
  uint32_t line;  // Of the I/O APIC.
};

enum class Console : uint8_t { kQuiet, kVerbose };

// Devices are probed in the order given: the first disk is vda.
std::string KernelCommandLine(Console console, std::span<const DeviceWindow> devices);

}  // namespace msb::vmm
