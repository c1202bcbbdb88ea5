// SPDX-License-Identifier: Apache-2.0
// The first state against what an Intel processor checks when it enters a guest: SDM volume 3,
// 27.3.1 "Checks on the Guest State Area", for a guest outside IA-32e mode. The lab runs on AMD's
// SVM, which lets pass what would fail there with "invalid guest state".
//
// The stricter rules of a processor without "unrestricted guest" are held to as well, but for the
// paging that KVM lends such a guest.

#include "vmm/arch/x86_64/vcpu_state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

using Broken = std::vector<std::string>;

constexpr uint64_t kPe = 1, kNw = 1 << 29, kCd = 1 << 30, kPg = 1u << 31;

bool Canonical(uint64_t address) {
  auto sign = static_cast<int64_t>(address) >> 47;
  return sign == 0 || sign == -1;
}

// 27.3.1.1.
void CheckControl(const kvm_sregs& s, Broken& broken) {
  if ((s.cr0 & kPg) != 0 && (s.cr0 & kPe) == 0) broken.push_back("CR0: paging without protection");
  if ((s.cr0 & kNw) != 0 && (s.cr0 & kCd) == 0) broken.push_back("CR0: NW without CD");
  // SDM 2.5: bits 6 to 15, 17, 19 to 28 and 32 to 63 are reserved.
  if ((s.cr0 & 0xffff'ffff'1ffa'ffc0) != 0) broken.push_back("CR0: reserved bits");
  if ((s.cr4 & ~uint64_t{0x3ff7'ffff}) != 0) broken.push_back("CR4: reserved bits");
  if ((s.cr4 & (1 << 17)) != 0) broken.push_back("CR4.PCIDE outside IA-32e mode");
  if ((s.cr3 >> 36) != 0) broken.push_back("CR3: beyond the physical addresses");
  if ((s.efer & ~uint64_t{0xd01}) != 0) broken.push_back("EFER: reserved bits");
  if ((s.efer & 0x400) != 0) broken.push_back("EFER.LMA outside IA-32e mode");
}

bool Usable(const kvm_segment& segment) { return segment.unusable == 0; }

void CheckLimit(const std::string& name, const kvm_segment& s, Broken& broken) {
  if ((s.limit & 0xfff) != 0xfff && s.g != 0) broken.push_back(name + ": G with a limit in bytes");
  if ((s.limit & 0xfff0'0000) != 0 && s.g == 0) broken.push_back(name + ": limit without G");
}

// 27.3.1.2, the rules that code and data segments share.
void CheckSegment(const std::string& name, const kvm_segment& s, Broken& broken) {
  if (!Usable(s)) return;
  if (s.s != 1) broken.push_back(name + ": a system segment");
  if (s.present != 1) broken.push_back(name + ": not present");
  if (s.type > 15 || s.dpl > 3) broken.push_back(name + ": access rights");
  CheckLimit(name, s, broken);
}

void CheckData(const std::string& name, const kvm_segment& s, Broken& broken) {
  CheckSegment(name, s, broken);
  if (!Usable(s)) return;
  if ((s.type & 1) == 0) broken.push_back(name + ": not accessed");
  if ((s.type & 8) != 0 && (s.type & 2) == 0) broken.push_back(name + ": code not readable");
  if (s.type < 12 && s.dpl < (s.selector & 3)) broken.push_back(name + ": DPL below RPL");
}

void CheckSegments(const kvm_sregs& s, Broken& broken) {
  CheckSegment("CS", s.cs, broken);
  if (!Usable(s.cs)) broken.push_back("CS: unusable");
  if (s.cs.type != 9 && s.cs.type != 11 && s.cs.type != 13 && s.cs.type != 15)
    broken.push_back("CS: type");
  if (s.cs.type < 12 ? s.cs.dpl != s.ss.dpl : s.cs.dpl > s.ss.dpl) broken.push_back("CS: DPL");
  if ((s.cs.base >> 32) != 0) broken.push_back("CS: base");
  CheckSegment("SS", s.ss, broken);
  if (Usable(s.ss) && s.ss.type != 3 && s.ss.type != 7) broken.push_back("SS: type");
  if ((s.ss.selector & 3) != (s.cs.selector & 3)) broken.push_back("SS: RPL");
  if (s.ss.dpl != (s.ss.selector & 3)) broken.push_back("SS: DPL");
  for (auto& [name, segment] :
       {std::pair<const char*, const kvm_segment&>{"DS", s.ds}, {"ES", s.es}, {"SS", s.ss}})
    if (Usable(segment) && (segment.base >> 32) != 0)
      broken.push_back(name + std::string(": base"));
  for (auto& [name, segment] : {std::pair<const char*, const kvm_segment&>{"DS", s.ds},
                                {"ES", s.es},
                                {"FS", s.fs},
                                {"GS", s.gs}})
    CheckData(name, segment, broken);
  for (uint64_t base : {s.fs.base, s.gs.base, s.tr.base, s.gdt.base, s.idt.base})
    if (!Canonical(base)) broken.push_back("a base is not canonical");
}

// 27.3.1.2 for TR and LDTR, 27.3.1.3.
void CheckTables(const kvm_sregs& s, Broken& broken) {
  if (!Usable(s.tr)) broken.push_back("TR: unusable");
  if ((s.tr.selector & 4) != 0) broken.push_back("TR: in the local table");
  if (s.tr.type != 3 && s.tr.type != 11) broken.push_back("TR: not a busy task");
  if (s.tr.s != 0) broken.push_back("TR: not a system segment");
  if (s.tr.present != 1) broken.push_back("TR: not present");
  CheckLimit("TR", s.tr, broken);
  if (Usable(s.ldt)) {
    if ((s.ldt.selector & 4) != 0) broken.push_back("LDTR: in the local table");
    if (s.ldt.type != 2 || s.ldt.s != 0 || s.ldt.present != 1) broken.push_back("LDTR: rights");
    CheckLimit("LDTR", s.ldt, broken);
  }
}

// 27.3.1.4.
void CheckFlags(const kvm_regs& r, Broken& broken) {
  if ((r.rip >> 32) != 0) broken.push_back("RIP: beyond 32 bits");
  if ((r.rflags & 2) == 0) broken.push_back("RFLAGS: bit 1");
  if ((r.rflags & 0xffff'ffff'ffc0'8028) != 0) broken.push_back("RFLAGS: reserved bits");
  if ((r.rflags & (1 << 17)) != 0) broken.push_back("RFLAGS.VM: other rules hold");
}

Broken Check(const kvm_sregs& sregs, const kvm_regs& regs) {
  Broken broken;
  CheckControl(sregs, broken);
  CheckSegments(sregs, broken);
  CheckTables(sregs, broken);
  CheckFlags(regs, broken);
  return broken;
}

const kvm_regs kRegs = PvhRegisters(0x100'0000, kStartInfoAddress);

TEST(PvhState, PassesIntelsChecksOfAGuestState) {
  EXPECT_EQ(Check(PvhSpecialRegisters(), kRegs), Broken{});
}

TEST(PvhState, IsWhatPvhPromises) {
  auto s = PvhSpecialRegisters();
  EXPECT_EQ(s.cr0 & ~uint64_t{0x10}, kPe) << "protected, no paging";
  EXPECT_EQ(s.cr4, 0u);
  EXPECT_EQ(s.efer, 0u);
  for (auto* segment : {&s.cs, &s.ds, &s.es, &s.ss}) {
    EXPECT_EQ(segment->base, 0u);
    EXPECT_EQ(segment->limit, 0xffff'ffffu);
    EXPECT_EQ(segment->db, 1);
    EXPECT_EQ(segment->l, 0);
  }
  EXPECT_EQ(s.tr.base, 0u);
  EXPECT_EQ(s.tr.limit, 0x67u);
  EXPECT_EQ(kRegs.rbx, kStartInfoAddress.value);
  EXPECT_EQ(kRegs.rip, 0x100'0000u);
  EXPECT_EQ(kRegs.rflags, 2u) << "no VM, IF, TF";
}

TEST(PvhState, BeginsOnTheBootProcessorInX2ApicMode) {
  EXPECT_EQ(PvhSpecialRegisters().apic_base, 0xfee00000u | 0x100 | 0x400 | 0x800);
}

// The checks can fail: each of these is one that a wrong table would break.
TEST(PvhState, TheChecksFindWhatIsWrong) {
  const std::pair<const char*, void (*)(kvm_sregs&)> kMistakes[] = {
      {"CS: type", [](kvm_sregs& s) { s.cs.type = 10; }},
      {"TR: not a busy task", [](kvm_sregs& s) { s.tr.type = 9; }},
      {"TR: limit without G", [](kvm_sregs& s) { s.tr.limit = 0xffff'ffff; }},
      {"DS: not accessed", [](kvm_sregs& s) { s.ds.type = 2; }},
      {"CR0: paging without protection", [](kvm_sregs& s) { s.cr0 = kPg; }},
      {"EFER.LMA outside IA-32e mode", [](kvm_sregs& s) { s.efer = 0x500; }},
      {"LDTR: rights", [](kvm_sregs& s) { s.ldt.unusable = 0; }},
      {"CS: limit without G", [](kvm_sregs& s) { s.cs.g = 0; }},
  };
  for (auto& [what, make] : kMistakes) {
    auto sregs = PvhSpecialRegisters();
    make(sregs);
    EXPECT_EQ(Check(sregs, kRegs), Broken{what});
  }
}

}  // namespace
}  // namespace msb::vmm
