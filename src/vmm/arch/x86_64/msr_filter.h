// SPDX-License-Identifier: Apache-2.0
// Which model specific registers the guest may touch. All others answer #GP, which Linux expects of
// any register that it is not sure of. x2APIC's are not subject to KVM's filter.

#pragma once

#include <cstdint>
#include <span>

#include "vmm/kvm/vm.h"

namespace msb::vmm {

std::span<const MsrRange> AllowedMsrs();

}  // namespace msb::vmm
