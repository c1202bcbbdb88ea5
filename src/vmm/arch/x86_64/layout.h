// SPDX-License-Identifier: Apache-2.0
// Where things lie in the guest's physical memory.
//
//   0x0000'1000  start info, module list, memory map (PVH)
//   0x0000'2000  kernel command line
//   0x0009'fc00  MP table, in the last KiB of conventional memory, where kernels look for it
//   0x000a'0000  nothing: what firmware would have
//   0x0010'0000  memory; the kernel where its file says (16 MiB), the initramfs behind it
//   0xc000'0000  gap of 1 GiB without memory: registers of devices
//   0x1'0000'0000  the rest of the memory

#pragma once

#include <cstdint>

#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

inline constexpr GuestAddress kStartInfoAddress{0x1000};
inline constexpr GuestAddress kCommandLineAddress{0x2000};
// Linux's COMMAND_LINE_SIZE on x86, with the zero at the end.
inline constexpr uint64_t kCommandLineLimit = 2048;
inline constexpr GuestAddress kMpTableAddress{0x9fc00};
inline constexpr uint64_t kMpTableLimit = 0x400;
inline constexpr GuestAddress kHighMemoryAddress{0x100000};

inline constexpr GuestAddress kIoApicAddress{0xfec00000};
inline constexpr uint64_t kIoApicSize = 0x1000;
inline constexpr uint32_t kLocalApicAddress = 0xfee00000;
// Three pages that only KVM uses.
inline constexpr uint32_t kTssAddress = 0xfffbd000;

// Beyond this APIC ids would want tables that this machine does not have.
inline constexpr uint32_t kMaxCpus = 32;

}  // namespace msb::vmm
