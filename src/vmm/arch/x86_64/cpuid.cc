// SPDX-License-Identifier: Apache-2.0
// The baseline as a table of masks, then the leaves that are computed.

#include "vmm/arch/x86_64/cpuid.h"

#include <algorithm>
#include <bit>

namespace msb::vmm {
namespace {

template <class... Bits>
constexpr uint32_t Without(Bits... bits) {
  return ~(0u | ... | (1u << bits));
}
template <class... Bits>
constexpr uint32_t Only(Bits... bits) {
  return (0u | ... | (1u << bits));
}
constexpr uint32_t kAll = ~0u;

struct LeafMask {
  uint32_t leaf;
  uint32_t subleaf;
  uint32_t eax, ebx, ecx, edx;
};
constexpr uint32_t kAnySubleaf = ~0u;

// Bits of leaf 1.
constexpr uint32_t kEcxX2Apic = 21, kEcxTscDeadline = 24, kEcxHypervisor = 31;
constexpr uint32_t kEdxManyThreads = 28;

// XCR0: x87, SSE, AVX, AVX-512 (three). Not: bound registers (3, 4), protection keys (9), AMX
// (17, 18).
constexpr uint32_t kXStates = Only(0, 1, 2, 5, 6, 7);
constexpr uint32_t kLegacyXsaveSize = 576;  // SDM volume 1, 13.4: legacy area and header.

// Leaves that are not named here are not passed on.
constexpr LeafMask kBaseline[] = {
    {0x0, 0, kAll, kAll, kAll, kAll},
    // ECX without DTES64 2, MONITOR 3, DS-CPL 4, VMX 5, SMX 6, EIST 7, TM2 8, CNXT-ID 10, SDBG 11,
    // xTPR 14, PDCM 15, DCA 18, OSXSAVE 27 (follows CR4). EDX without MCE 7, MCA 14, DS 21, ACPI
    // 22, TM 29, PBE 31; the guest's kernel handles no machine checks.
    {0x1, 0, kAll, kAll, Without(2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 15, 18, 27),
     Without(7, 14, 20, 21, 22, 29, 30, 31)},
    {0x2, 0, kAll, kAll, kAll, kAll},
    // Deterministic cache parameters, Intel.
    {0x4, kAnySubleaf, kAll, kAll, kAll, kAll},
    // ARAT: the local APIC's timer runs in every sleep state.
    {0x6, 0, Only(2), 0, 0, 0},
    // EBX without TSC_ADJUST 1 (Linux reads that MSR when it goes idle, which is an exit to learn
    // that nobody changed it), SGX 2, HLE 4, RTM 11, PQM 12, MPX 14, PQE 15, processor trace 25.
    // ECX without PKU 3, OSPKE 4, WAITPKG 5, CET_SS 7, TME 13, SGX_LC 30, PKS 31.
    // EDX: what programs use (REP MOV 4, AVX-512 2 3 8 23, SERIALIZE 14, CLEAR 10, FSRM) and what
    // mitigations need (26 to 29, 31); not AMX 22 24 25, TSX 11 13 16, LBR 19, CET_IBT 20.
    {0x7, 0, kAll, Without(1, 2, 4, 11, 12, 14, 15, 25), Without(3, 4, 5, 7, 13, 30, 31),
     Without(11, 13, 16, 18, 19, 20, 22, 24, 25, 30)},
    // AVX-VNNI 4, AVX512-BF16 5, fast short REP 10 11 12, AVX-IFMA 23.
    {0x7, 1, Only(4, 5, 10, 11, 12, 23), 0, 0, 0},
    // Behaviours of indirect branches that mitigations may ask for.
    {0x7, 2, 0, 0, 0, Only(0, 1, 2, 3, 4, 5)},
    {0xd, 0, kXStates, kAll, kAll, 0},
    // XSAVEOPT 0, XSAVEC 1, XGETBV with ECX 1 2, XSAVES 3; no supervisor states.
    {0xd, 1, Only(0, 1, 2, 3), kAll, 0, 0},
    {0xd, 2, kAll, kAll, kAll, kAll},
    {0xd, 5, kAll, kAll, kAll, kAll},
    {0xd, 6, kAll, kAll, kAll, kAll},
    {0xd, 7, kAll, kAll, kAll, kAll},
    // The processor's and the TSC's frequencies.
    {0x15, 0, kAll, kAll, kAll, 0},
    {0x16, 0, kAll, kAll, kAll, 0},
    // KVM's own: its signature, its features.
    {0x4000'0000, 0, kAll, kAll, kAll, kAll},
    {0x4000'0001, 0, kAll, 0, 0, kAll},
    {0x8000'0000, 0, kAll, kAll, kAll, kAll},
    // ECX without SVM 2, ExtApicSpace 3, OSVW 9, IBS 10, SKINIT 12, WDT 13, LWP 15, NodeId 19,
    // TopoExt 22, performance counters 23 24 27 28, MONITORX 29.
    {0x8000'0001, 0, kAll, kAll, Without(2, 3, 9, 10, 12, 13, 15, 19, 22, 23, 24, 26, 27, 28, 29),
     Without(7, 14)},
    {0x8000'0002, 0, kAll, kAll, kAll, kAll},
    {0x8000'0003, 0, kAll, kAll, kAll, kAll},
    {0x8000'0004, 0, kAll, kAll, kAll, kAll},
    // Caches, AMD.
    {0x8000'0005, 0, kAll, kAll, kAll, kAll},
    {0x8000'0006, 0, kAll, kAll, kAll, kAll},
    // The TSC runs at one rate in every state.
    {0x8000'0007, 0, 0, 0, 0, Only(8)},
    // EBX: CLZERO 0, XSAVE of error pointers 2, WBNOINVD 9, and what mitigations need: IBPB 12,
    // IBRS 14, STIBP 15 and how they are preferred 16 17 18, SSBD 24 25 26, PSFD 28, IBPB_RET 30.
    // ECX: the number of threads, computed below.
    {0x8000'0008, 0, kAll, Only(0, 2, 9, 12, 14, 15, 16, 17, 18, 24, 25, 26, 28, 30), 0, 0},
    // LFENCE serializes 2, null selectors clear their base 6, AutoIBRS 8, SBPB 27, IBPB_BRTYPE 28,
    // SRSO_NO 29.
    {0x8000'0021, 0, Only(0, 2, 6, 8, 27, 28, 29), 0, 0, 0},
};

const LeafMask* FindMask(const kvm_cpuid_entry2& entry) {
  auto found = std::find_if(std::begin(kBaseline), std::end(kBaseline), [&](const LeafMask& mask) {
    return mask.leaf == entry.function &&
           (mask.subleaf == kAnySubleaf || mask.subleaf == entry.index);
  });
  return found == std::end(kBaseline) ? nullptr : found;
}

kvm_cpuid_entry2* Find(std::span<kvm_cpuid_entry2> entries, uint32_t leaf, uint32_t subleaf = 0) {
  auto found = std::find_if(entries.begin(), entries.end(), [&](const kvm_cpuid_entry2& entry) {
    return entry.function == leaf && entry.index == subleaf;
  });
  return found == entries.end() ? nullptr : &*found;
}

bool Empty(const kvm_cpuid_entry2& entry) {
  return (entry.eax | entry.ebx | entry.ecx | entry.edx) == 0;
}

uint32_t BitsFor(uint32_t cpus) { return static_cast<uint32_t>(std::bit_width(cpus - 1)); }

// Each processor is a core of its own in one package; the first two levels of caches are a core's,
// the third is shared.
void FixCacheLeaf(kvm_cpuid_entry2& entry, uint32_t cpus) {
  constexpr uint32_t kSharing = 0x3ffc000, kCores = 0xfc000000;
  uint32_t level = (entry.eax >> 5) & 7;
  entry.eax &= ~(kSharing | kCores);
  entry.eax |= (cpus - 1) << 26;
  if (level >= 3) entry.eax |= ((1u << BitsFor(cpus)) - 1) << 14;
}

// A leaf beyond the highest that leaf 0 names would not be read.
void RaiseHighestLeaf(std::span<kvm_cpuid_entry2> entries, uint32_t leaf) {
  if (auto* first = Find(entries, 0)) first->eax = std::max(first->eax, leaf);
}

// Leaf 0xb: who shares a core (one thread), who shares the package (all).
void AddTopology(std::vector<kvm_cpuid_entry2>& entries, uint32_t cpus) {
  constexpr uint32_t kThreadLevel = 1 << 8, kCoreLevel = 2 << 8;
  kvm_cpuid_entry2 threads{}, cores{}, end{};
  threads.function = cores.function = end.function = 0xb;
  threads.flags = cores.flags = end.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  threads.ebx = 1;
  threads.ecx = kThreadLevel;
  cores.index = cores.ecx = 1;
  cores.ecx |= kCoreLevel;
  cores.eax = BitsFor(cpus);
  cores.ebx = cpus;
  end.index = end.ecx = 2;
  for (const auto& entry : {threads, cores, end}) entries.push_back(entry);
  RaiseHighestLeaf(entries, 0xb);
}

// The highest state's end is the size of all: what the masks took away must not be counted.
void FixXsaveSizes(std::span<kvm_cpuid_entry2> entries) {
  auto* states = Find(entries, 0xd);
  if (states == nullptr) return;
  uint32_t size = kLegacyXsaveSize;
  for (const auto& entry : entries) {
    if (entry.function != 0xd || entry.index < 2) continue;
    size = std::max(size, entry.ebx + entry.eax);
  }
  // Of all states, and of those that are on in XCR0, which is all at first.
  states->ecx = states->ebx = size;
}

bool StateIsLeft(const kvm_cpuid_entry2& entry) {
  return entry.function != 0xd || entry.index < 2 || (kXStates & (1u << entry.index)) != 0;
}

void FixFeatures(std::span<kvm_cpuid_entry2> entries, uint32_t cpus) {
  if (auto* features = Find(entries, 1)) {
    // KVM does both in software, with the local APICs in the kernel, and reports the second
    // nowhere else but by a capability that all hosts of ours have.
    features->ecx |= Only(kEcxX2Apic, kEcxTscDeadline, kEcxHypervisor);
    if (cpus > 1) features->edx |= Only(kEdxManyThreads);
    features->ebx = (features->ebx & 0xff00) | (cpus << 16);
  }
  if (auto* sizes = Find(entries, 0x8000'0008)) sizes->ecx = (BitsFor(cpus) << 12) | (cpus - 1);
}

}  // namespace

std::vector<kvm_cpuid_entry2> MakeCpuid(std::span<const kvm_cpuid_entry2> supported,
                                        uint32_t cpus) {
  std::vector<kvm_cpuid_entry2> entries;
  for (kvm_cpuid_entry2 entry : supported) {
    const LeafMask* mask = FindMask(entry);
    if (mask == nullptr || !StateIsLeft(entry)) continue;
    entry.eax &= mask->eax;
    entry.ebx &= mask->ebx;
    entry.ecx &= mask->ecx;
    entry.edx &= mask->edx;
    if (entry.function == 0x4) FixCacheLeaf(entry, cpus);
    if (!Empty(entry)) entries.push_back(entry);
  }
  FixFeatures(entries, cpus);
  FixXsaveSizes(entries);
  AddTopology(entries, cpus);
  return entries;
}

uint64_t ExtendedStates(std::span<const kvm_cpuid_entry2> entries) {
  for (const auto& entry : entries)
    if (entry.function == 0xd && entry.index == 0) return entry.eax;
  return 0;
}

void SetApicId(std::span<kvm_cpuid_entry2> entries, uint32_t apic_id) {
  for (auto& entry : entries) {
    if (entry.function == 1) entry.ebx = (entry.ebx & 0x00ff'ffff) | (apic_id << 24);
    if (entry.function == 0xb) entry.edx = apic_id;
  }
}

}  // namespace msb::vmm
