// SPDX-License-Identifier: Apache-2.0
// The first processor's state at the PVH entry: 32-bit protected mode, flat segments, no paging,
// EBX the start info (Xen, docs/misc/pvh). The other processors wait for INIT and SIPI and need
// none.
//
// vcpu_state_test.cc holds it against what Intel's processors check at every VM entry (SDM volume
// 3, 27.3.1): AMD's, on which the lab runs, check less.

#pragma once

#include <linux/kvm.h>

#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

kvm_sregs PvhSpecialRegisters();
kvm_regs PvhRegisters(uint32_t entry, GuestAddress start_info);

}  // namespace msb::vmm
