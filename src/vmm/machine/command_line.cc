// SPDX-License-Identifier: Apache-2.0
// Words of the kernel command line, each with its reason.

#include "vmm/machine/command_line.h"

#include <array>
#include <string_view>

#include "base/text.h"
#include "vmm/machine/address_map.h"
#include "vmm/virtio/mmio.h"

namespace msb::vmm {
namespace {

constexpr auto kWords = std::to_array<std::string_view>({
    "console=hvc0",
    // There is no other way out: a reset is a triple fault, and so is the end of a panic.
    "reboot=t",
    "panic=-1",
    // KVM gives the TSC's rate; there is no second clock to compare it with.
    "tsc=reliable",
    // Lock prefixes stay with one CPU too: taking out 8192 costs more than it ever gives back.
    "noreplace-smp",
});

}  // namespace

std::string KernelCommandLine(Console console, std::span<const DeviceWindow> devices) {
  std::string line;
  for (std::string_view word : kWords) line += Cat(word, ' ');
  line += console == Console::kQuiet ? "quiet" : "printk.time=1";
  for (const DeviceWindow& device : devices)
    line += Cat(" virtio_mmio.device=", kMmioBytes, '@', HexAddress(device.address.value), ':',
                device.line);
  return line;
}

}  // namespace msb::vmm
