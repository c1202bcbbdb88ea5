// SPDX-License-Identifier: Apache-2.0
// Kvm: the host's /dev/kvm, opened by somebody else. Makes machines and says what processors can
// do. A machine belongs to the process that made it: KVM_CREATE_VM comes after the last fork.

#pragma once

#include <linux/kvm.h>

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/kvm/calls.h"
#include "vmm/kvm/vm.h"

namespace msb::vmm {

class Kvm {
 public:
  // Asks for the API version, which is the one question whose answer tells KVM from another file.
  // `calls` outlives this and everything it makes.
  static Result<Kvm> Create(UniqueFd device, KvmCalls& calls);

  // The error names what the host's KVM lacks, if it is that.
  Result<Vm> CreateVm() const;
  // KVM_GET_SUPPORTED_CPUID: what the host's processor and KVM can show a guest.
  Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() const;
  // KVM_CHECK_EXTENSION: 0 when it is not there.
  int Extension(int capability) const;

  // Adds to an error of the set-up which capability is missing. Asked only when something failed:
  // each question is a system call, and every kernel that we support has them all.
  Error Explain(Error error) const;

 private:
  Kvm(UniqueFd device, KvmCalls& calls) : device_(std::move(device)), calls_(&calls) {}
  UniqueFd device_;
  KvmCalls* calls_;
};

}  // namespace msb::vmm
