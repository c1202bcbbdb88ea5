// SPDX-License-Identifier: Apache-2.0
// KVM's two CPUID calls, spelt out. Linux 6.1's header gives struct kvm_cpuid2 a flexible array
// that costs four bytes in C++, and the size is part of a request's number.

#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace msb::vmm {

// KVM_MAX_CPUID_ENTRIES.
inline constexpr uint32_t kMaxCpuidEntries = 256;

struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
struct CpuidTable {
  CpuidHeader header;
  std::array<kvm_cpuid_entry2, kMaxCpuidEntries> entries;
};
static_assert(offsetof(CpuidTable, entries) == sizeof(CpuidHeader));

inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

}  // namespace msb::vmm
