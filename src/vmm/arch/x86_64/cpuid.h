// SPDX-License-Identifier: Apache-2.0
// What processor the guest sees: the features that host and KVM offer, cut down to a named
// baseline. Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.

#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace msb::vmm {

// The baseline's name, for the record: a snapshot goes on only where this gives the same.
inline constexpr std::string_view kCpuBaseline = "host-1";

// The processors' common part. `supported` is the host's KVM_GET_SUPPORTED_CPUID. Leaves and bits
// that the baseline does not name are not there, whatever a newer host adds.
//
// Left out: counters (PMU), MONITOR, SGX, protection keys, nested virtualization, transactional
// memory, AMX, processor trace. XSAVE's leaves name the states that are left and their size.
std::vector<kvm_cpuid_entry2> MakeCpuid(std::span<const kvm_cpuid_entry2> supported, uint32_t cpus);

// XCR0 with every state that the leaves have, 0 when there is no XSAVE. A processor begins with it:
// KVM computes the size that the guest reads from XCR0, and the lab's emulated SVM does not tell
// KVM when the guest changes it.
uint64_t ExtendedStates(std::span<const kvm_cpuid_entry2> entries);

// Writes what differs from processor to processor: its APIC id, in every leaf that has it.
void SetApicId(std::span<kvm_cpuid_entry2> entries, uint32_t apic_id);

}  // namespace msb::vmm
