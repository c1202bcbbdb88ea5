// SPDX-License-Identifier: Apache-2.0
// Seccomp of msb-vmm: the whole process while it builds the machine, then each thread for itself.
// The policies are jail/policy_vmm.cc.

#pragma once

#include "base/result.h"
#include "vmm/machine/machine.h"

namespace msb::vmm {

// One thread at the call. Everything that is not for building a machine kills from here on.
Result<void> ConfineStart();
// A thread that the machine made, before its first work. Ends the process when it cannot be.
void ConfineThread(ThreadClass kind);
// The caller's, which becomes the device thread: no thread, descriptor or machine is made after
// this.
Result<void> ConfineDeviceThread();

}  // namespace msb::vmm
