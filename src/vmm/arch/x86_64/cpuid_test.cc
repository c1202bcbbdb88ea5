// SPDX-License-Identifier: Apache-2.0
// The guest's CPUID: what must be there, what must not, and that the leaves agree.

#include "vmm/arch/x86_64/cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace msb::vmm {
namespace {

kvm_cpuid_entry2 Entry(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
                       uint32_t edx) {
  kvm_cpuid_entry2 entry{};
  entry.function = leaf;
  entry.index = subleaf;
  entry.eax = eax;
  entry.ebx = ebx;
  entry.ecx = ecx;
  entry.edx = edx;
  return entry;
}

// A host that can do everything, in every bit of every leaf that it has.
std::vector<kvm_cpuid_entry2> GenerousHost() {
  constexpr uint32_t k1 = ~0u;
  std::vector<kvm_cpuid_entry2> host = {
      Entry(0x0, 0, 0x1f, k1, k1, k1),
      Entry(0x1, 0, k1, k1, k1, k1),
      Entry(0x4, 0, 0x1c004121, k1, k1, k1),
      Entry(0x4, 3, 0x1c03c163, k1, k1, k1),
      Entry(0x5, 0, k1, k1, k1, k1),
      Entry(0x6, 0, k1, k1, k1, k1),
      Entry(0x7, 0, k1, k1, k1, k1),
      Entry(0x7, 1, k1, k1, k1, k1),
      Entry(0xa, 0, k1, k1, k1, k1),
      Entry(0xb, 0, 1, 2, 0x100, 9),
      Entry(0xb, 1, 4, 16, 0x201, 9),
      Entry(0xd, 0, 0x606e7, 2696, 11008, 0),
      Entry(0xd, 1, 0x1f, 2568, 0x1900, 0),
      Entry(0xd, 2, 256, 576, 0, 0),
      Entry(0xd, 5, 64, 1088, 0, 0),
      Entry(0xd, 6, 512, 1152, 0, 0),
      Entry(0xd, 7, 1024, 1664, 0, 0),
      Entry(0xd, 9, 8, 2688, 0, 0),
      Entry(0xd, 18, 8192, 2816, 6, 0),
      Entry(0x12, 0, k1, k1, k1, k1),
      Entry(0x14, 0, k1, k1, k1, k1),
      Entry(0x1f, 0, 1, 2, 0x100, 9),
      Entry(0x40000000, 0, 0x40000001, k1, k1, k1),
      Entry(0x40000001, 0, k1, 0, 0, 1),
      Entry(0x80000000, 0, 0x80000021, k1, k1, k1),
      Entry(0x80000001, 0, k1, k1, k1, k1),
      Entry(0x80000007, 0, k1, k1, k1, k1),
      Entry(0x80000008, 0, k1, k1, k1, k1),
      Entry(0x8000000a, 0, k1, k1, k1, k1),
      Entry(0x8000001d, 0, k1, k1, k1, k1),
      Entry(0x8000001e, 0, k1, k1, k1, k1),
      Entry(0x80000022, 0, k1, k1, k1, k1),
      Entry(0x77777777, 0, k1, k1, k1, k1),
  };
  return host;
}

std::optional<kvm_cpuid_entry2> Find(std::span<const kvm_cpuid_entry2> entries, uint32_t leaf,
                                     uint32_t subleaf = 0) {
  for (const auto& entry : entries)
    if (entry.function == leaf && entry.index == subleaf) return entry;
  return std::nullopt;
}

TEST(Cpuid, HidesWhatTheBaselineDoesNotName) {
  auto guest = MakeCpuid(GenerousHost(), 1);
  for (uint32_t leaf : {0x5u, 0xau, 0x12u, 0x14u, 0x1fu, 0x8000000au, 0x8000001du, 0x8000001eu,
                        0x80000022u, 0x77777777u})
    EXPECT_FALSE(Find(guest, leaf)) << std::hex << leaf;
  auto features = *Find(guest, 1);
  for (uint32_t bit : {2u, 3u, 5u, 6u, 15u, 27u}) EXPECT_FALSE((features.ecx >> bit) & 1) << bit;
  auto more = *Find(guest, 7);
  for (uint32_t bit : {1u, 2u, 4u, 11u, 14u, 25u}) EXPECT_FALSE((more.ebx >> bit) & 1) << bit;
  for (uint32_t bit : {3u, 4u, 30u, 31u}) EXPECT_FALSE((more.ecx >> bit) & 1) << bit;
  auto amd = *Find(guest, 0x80000001);
  for (uint32_t bit : {2u, 22u, 23u, 29u}) EXPECT_FALSE((amd.ecx >> bit) & 1) << bit;
}

TEST(Cpuid, PassesWhatMitigationsAndTimeNeed) {
  auto guest = MakeCpuid(GenerousHost(), 1);
  EXPECT_TRUE((Find(guest, 1)->ecx >> 21) & 1) << "x2APIC";
  EXPECT_TRUE((Find(guest, 1)->ecx >> 24) & 1) << "TSC deadline";
  EXPECT_TRUE((Find(guest, 1)->ecx >> 31) & 1) << "hypervisor";
  for (uint32_t bit : {10u, 26u, 27u, 28u, 29u, 31u})
    EXPECT_TRUE((Find(guest, 7)->edx >> bit) & 1) << bit;
  EXPECT_TRUE((Find(guest, 0x80000008)->ebx >> 12) & 1) << "IBPB";
  EXPECT_EQ(Find(guest, 0x80000007)->edx, 1u << 8) << "invariant TSC";
  EXPECT_EQ(Find(guest, 6)->eax, 4u) << "ARAT";
  EXPECT_EQ(Find(guest, 0x40000001)->eax, ~0u) << "kvm-clock among others";
}

TEST(Cpuid, GivesNoFeatureThatTheHostLacks) {
  std::vector<kvm_cpuid_entry2> poor = {Entry(0, 0, 0xd, 0, 0, 0), Entry(1, 0, 0x660, 0, 1, 1),
                                        Entry(7, 0, 0, 1, 0, 0),
                                        Entry(0x80000001, 0, 0, 0, 1, 1 << 29)};
  auto guest = MakeCpuid(poor, 1);
  EXPECT_EQ(Find(guest, 1)->ecx, 1u | (1u << 21) | (1u << 24) | (1u << 31)) << "and KVM's own";
  EXPECT_EQ(Find(guest, 1)->edx, 1u);
  EXPECT_EQ(Find(guest, 7)->ebx, 1u);
  EXPECT_FALSE(Find(guest, 0xd));
}

TEST(Cpuid, XsaveLeavesAgreeWithTheStatesThatAreLeft) {
  auto guest = MakeCpuid(GenerousHost(), 1);
  auto states = *Find(guest, 0xd, 0);
  EXPECT_EQ(states.eax, 0xe7u) << "without protection keys and AMX";
  EXPECT_FALSE(Find(guest, 0xd, 9));
  EXPECT_FALSE(Find(guest, 0xd, 18));
  EXPECT_EQ(states.ecx, 1664u + 1024u) << "the end of the last state that is left";
  EXPECT_EQ(states.ebx, states.ecx) << "all are on when the guest begins";
  EXPECT_EQ(ExtendedStates(guest), 0xe7u);
  EXPECT_EQ(Find(guest, 0xd, 1)->ecx, 0u) << "no supervisor states";
  EXPECT_FALSE((Find(guest, 7)->ecx >> 3) & 1) << "PKU itself";
}

TEST(Cpuid, AProcessorWithoutXsaveHasNoStatesToTurnOn) {
  EXPECT_EQ(ExtendedStates(MakeCpuid({}, 1)), 0u);
}

TEST(Cpuid, EachProcessorHasItsOwnApicId) {
  for (uint32_t cpus : {1u, 2u, 3u, 8u, 32u}) {
    auto guest = MakeCpuid(GenerousHost(), cpus);
    for (uint32_t id : {0u, cpus - 1}) {
      SetApicId(guest, id);
      EXPECT_EQ(Find(guest, 1)->ebx >> 24, id);
      EXPECT_EQ((Find(guest, 1)->ebx >> 16) & 0xff, cpus);
      for (uint32_t level : {0u, 1u, 2u}) EXPECT_EQ(Find(guest, 0xb, level)->edx, id);
    }
    EXPECT_EQ((Find(guest, 1)->edx >> 28) & 1, 1u);
  }
}

TEST(Cpuid, EachProcessorIsACoreOfOnePackage) {
  for (uint32_t cpus : {1u, 2u, 3u, 8u, 32u}) {
    auto guest = MakeCpuid(GenerousHost(), cpus);
    auto threads = *Find(guest, 0xb, 0), cores = *Find(guest, 0xb, 1);
    EXPECT_EQ(threads.eax, 0u);
    EXPECT_EQ(threads.ebx, 1u);
    EXPECT_EQ((threads.ecx >> 8) & 0xff, 1u);
    EXPECT_EQ(cores.ebx, cpus);
    EXPECT_EQ((cores.ecx >> 8) & 0xff, 2u);
    EXPECT_GE(1u << cores.eax, cpus) << "every APIC id fits";
    EXPECT_EQ(Find(guest, 0x80000008)->ecx & 0xff, cpus - 1);
    EXPECT_EQ((Find(guest, 4, 0)->eax >> 14) & 0xfff, 0u) << "the first cache is a core's own";
    EXPECT_EQ((Find(guest, 4, 3)->eax >> 14) & 0xfff, (1u << cores.eax) - 1) << "the third is not";
    EXPECT_EQ(Find(guest, 4, 0)->eax >> 26, cpus - 1);
  }
}

TEST(Cpuid, TheHighestLeafReachesTheTopology) {
  std::vector<kvm_cpuid_entry2> poor = {Entry(0, 0, 7, 1, 1, 1)};
  EXPECT_EQ(Find(MakeCpuid(poor, 2), 0)->eax, 0xbu);
}

}  // namespace
}  // namespace msb::vmm
