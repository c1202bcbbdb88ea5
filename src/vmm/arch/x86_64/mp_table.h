// SPDX-License-Identifier: Apache-2.0
// The MP table: the processors and the I/O APIC of a machine without ACPI. Intel MultiProcessor
// Specification 1.4, chapter 4.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

// Floating pointer and configuration table, as they lie at kMpTableAddress. Processors have the
// APIC ids 0 to `cpus` - 1, the I/O APIC the next one. Line n of the one bus leads to pin n, edge-
// triggered and active high (what "conforms to the bus" means for ISA); line 0 is left out: Linux
// takes 0 for no interrupt.
std::vector<std::byte> MakeMpTable(uint32_t cpus, uint32_t pins);

Result<void> WriteMpTable(const GuestMemory& memory, uint32_t cpus, uint32_t pins);

}  // namespace msb::vmm
