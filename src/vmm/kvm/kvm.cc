// SPDX-License-Identifier: Apache-2.0
// /dev/kvm.

#include "vmm/kvm/kvm.h"

#include <memory>

#include "base/text.h"
#include "vmm/kvm/cpuid_calls.h"

namespace msb::vmm {
namespace {

struct Capability {
  int number;
  const char* name;
};
// What a machine is made of.
constexpr Capability kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
    {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER"},
};

constexpr const char* kRemedy = "run: msb doctor; isolation vm needs the KVM of Linux 6.1 or newer";

}  // namespace

Result<Kvm> Kvm::Create(UniqueFd device, KvmCalls& calls) {
  Kvm kvm(std::move(device), calls);
  int version = calls.Control(kvm.device_, KVM_GET_API_VERSION, 0);
  if (version == -1)
    return Error::Errno("the descriptor given as /dev/kvm: KVM_GET_API_VERSION").Remedy(kRemedy);
  if (version != KVM_API_VERSION)
    return Error(Code::kFailedPrecondition,
                 Cat("KVM has API version ", version, ", not ", KVM_API_VERSION))
        .Remedy(kRemedy);
  return kvm;
}

int Kvm::Extension(int capability) const {
  int value = calls_->Control(device_, KVM_CHECK_EXTENSION, static_cast<uint64_t>(capability));
  return value < 0 ? 0 : value;
}

Error Kvm::Explain(Error error) const {
  for (const Capability& capability : kNeeded) {
    if (Extension(capability.number) == 0)
      return std::move(error)
          .Context(Cat("the host's KVM lacks ", capability.name))
          .Remedy(kRemedy);
  }
  return std::move(error).Remedy(kRemedy);
}

Result<Vm> Kvm::CreateVm() const {
  int size = TRY(calls_->Do(device_, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE));
  if (size < static_cast<int>(sizeof(kvm_run)))
    return Error(Code::kFailedPrecondition, Cat("KVM_GET_VCPU_MMAP_SIZE says ", size));
  auto fd = calls_->Do(device_, "KVM_CREATE_VM", KVM_CREATE_VM);
  if (!fd) return Explain(std::move(fd).error());
  return Vm(UniqueFd(*fd), static_cast<size_t>(size), *calls_);
}

Result<std::vector<kvm_cpuid_entry2>> Kvm::SupportedCpuid() const {
  auto table = std::make_unique<CpuidTable>();
  table->header = {kMaxCpuidEntries, 0};
  TRY(calls_->Do(device_, "KVM_GET_SUPPORTED_CPUID", kGetSupportedCpuid, table.get()));
  if (table->header.count > kMaxCpuidEntries)
    return Error(Code::kInternal, "KVM_GET_SUPPORTED_CPUID: more entries than there is room for");
  return std::vector<kvm_cpuid_entry2>(table->entries.begin(),
                                       table->entries.begin() + table->header.count);
}

}  // namespace msb::vmm
