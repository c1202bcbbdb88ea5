// SPDX-License-Identifier: Apache-2.0
// Segments and control registers. Bits: Intel SDM volume 3, 2.5 (control registers), 3.4.5
// (segment types).

#include "vmm/arch/x86_64/vcpu_state.h"

#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kCr0ProtectedMode = 1 << 0;
constexpr uint64_t kCr0ExtensionType = 1 << 4;  // Reads as one on every processor since the 486.
constexpr uint64_t kRflagsAlwaysOne = 1 << 1;

constexpr uint8_t kCodeExecuteReadAccessed = 11, kDataReadWriteAccessed = 3, kTask32Busy = 11;
// Nothing loads them: no descriptor table lies behind until the kernel has made its own.
constexpr uint16_t kCodeSelector = 0x10, kDataSelector = 0x18, kTaskSelector = 0x20;

constexpr uint64_t kApicBootstrap = 1 << 8, kApicX2Mode = 1 << 10, kApicEnabled = 1 << 11;

kvm_segment Flat(uint8_t type, uint16_t selector) {
  kvm_segment segment{};
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = type;
  segment.s = 1;  // Code or data.
  segment.present = 1;
  segment.db = 1;  // 32 bits.
  segment.g = 1;   // The limit is in pages.
  return segment;
}

}  // namespace

kvm_sregs PvhSpecialRegisters() {
  kvm_sregs sregs{};
  sregs.cs = Flat(kCodeExecuteReadAccessed, kCodeSelector);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss =
      Flat(kDataReadWriteAccessed, kDataSelector);
  sregs.tr.limit = 0x67;  // The least a task segment has.
  sregs.tr.selector = kTaskSelector;
  sregs.tr.type = kTask32Busy;
  sregs.tr.present = 1;
  sregs.ldt.unusable = 1;
  sregs.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
  // In x2APIC mode from the start: its registers are MSRs, which cost an exit less work than the
  // page in memory that Linux would otherwise begin with.
  sregs.apic_base = kLocalApicAddress | kApicBootstrap | kApicX2Mode | kApicEnabled;
  return sregs;
}

kvm_regs PvhRegisters(uint32_t entry, GuestAddress start_info) {
  kvm_regs regs{};
  regs.rip = entry;
  regs.rbx = start_info.value;
  regs.rflags = kRflagsAlwaysOne;
  return regs;
}

}  // namespace msb::vmm
