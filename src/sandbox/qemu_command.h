// SPDX-License-Identifier: Apache-2.0
// The command line of QEMU and of the guest's kernel (docs/design/001-guest-boot.md).

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/backend.h"

namespace msb::sandbox {

// Where QEMU finds what it is given: descriptors by number, two files at fixed paths in its jail.
struct QemuNumbers {
  int agent = 10;
  int console = 11;
  int monitor = 12;
  int root_disk = 13;
  int upper_disk = 14;
};
inline constexpr const char* kJailKernel = "/guest/kernel";
inline constexpr const char* kJailInitramfs = "/guest/initramfs";

// `tsc_khz` 0: not known, the guest calibrates.
std::vector<std::string> QemuCommand(const std::string& program, const MachineSpec& spec,
                                     const QemuNumbers& numbers, uint64_t tsc_khz);
std::string KernelCommandLine(const MachineSpec& spec, uint64_t tsc_khz);

}  // namespace msb::sandbox
