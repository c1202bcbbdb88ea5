// SPDX-License-Identifier: Apache-2.0
// What the kernel finds at its PVH entry: the start info, whose address is in EBX, and all that it
// points to. Layouts: Xen's public/arch-x86/hvm/start_info.h, version 1.

#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vmm/arch/x86_64/elf_kernel.h"
#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

struct MemoryMapEntry {
  enum class Type : uint32_t { kMemory = 1, kReserved = 2 };
  uint64_t start;
  uint64_t size;
  Type type;
};

// The guest's memory as the kernel may use it: without the tables in the last KiB of conventional
// memory, which belong to no one, and without what firmware would have below 1 MiB.
std::vector<MemoryMapEntry> MakeMemoryMap(const GuestMemory& memory);

// Writes start info, module list, memory map and command line to their places (layout.h).
Result<void> WriteStartInfo(const GuestMemory& memory, std::string_view command_line,
                            std::optional<GuestRange> initramfs);

}  // namespace msb::vmm
