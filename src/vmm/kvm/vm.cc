// SPDX-License-Identifier: Apache-2.0
// The calls of a machine.

#include "vmm/kvm/vm.h"

#include <sys/mman.h>

#include <cstddef>

#include "base/check.h"
#include "base/text.h"

namespace msb::vmm {

Result<void> Vm::SplitIrqchip() const {
  kvm_enable_cap enable{};
  enable.cap = KVM_CAP_SPLIT_IRQCHIP;
  // No lines of KVM's routing table are an I/O APIC's: ends of interrupts stay in the kernel.
  enable.args[0] = 0;
  TRY(calls_->Do(fd_, "KVM_ENABLE_CAP KVM_CAP_SPLIT_IRQCHIP", KVM_ENABLE_CAP, &enable));
  return {};
}

Result<void> Vm::SetTssAddress(uint32_t address) const {
  TRY(calls_->Do(fd_, "KVM_SET_TSS_ADDR", KVM_SET_TSS_ADDR, uint64_t{address}));
  return {};
}

Result<void> Vm::SetMsrFilter(std::span<const MsrRange> ranges) const {
  CHECK(2 * ranges.size() <= KVM_MSR_FILTER_MAX_RANGES);
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  size_t at = 0;
  auto add = [&](const MsrRange& range, uint32_t flags, std::span<const uint8_t> bits) {
    CHECK(bits.size() * 8 >= range.count);
    // SAFETY: the kernel reads the bitmap and never writes it; its structure predates const.
    filter.ranges[at++] = {flags, range.count, range.first, const_cast<uint8_t*>(bits.data())};
  };
  for (const MsrRange& range : ranges) {
    add(range, KVM_MSR_FILTER_READ, range.readable);
    add(range, KVM_MSR_FILTER_WRITE, range.writable);
  }
  TRY(calls_->Do(fd_, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &filter));
  return {};
}

Result<void> Vm::SetMemory(uint32_t slot, uint64_t start, std::span<std::byte> host) const {
  // SAFETY: the kernel takes the address as a number.
  kvm_userspace_memory_region region{slot, 0, start, host.size(),
                                     reinterpret_cast<uint64_t>(host.data())};
  auto set = calls_->Do(fd_, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &region);
  if (!set)
    return std::move(set).error().Context(
        Cat("guest memory of ", host.size(), " bytes at ", start));
  return {};
}

Result<Vcpu> Vm::CreateVcpu(uint32_t index) const {
  UniqueFd fd(TRY(calls_->Do(fd_, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, uint64_t{index})));
  auto shared = TRY(sys::MapFile(fd, run_size_, 0, PROT_READ | PROT_WRITE, MAP_SHARED)
                        .Context("the memory shared with a virtual CPU"));
  return Vcpu(std::move(fd), std::move(shared), *calls_);
}

Result<void> Vm::BindKick(BorrowedFd eventfd, uint64_t address) const {
  // Length 0: any width, no value compared; on Intel this is found without decoding the guest's
  // instruction.
  kvm_ioeventfd bind{};
  bind.addr = address;
  bind.fd = eventfd.get();
  TRY(calls_->Do(fd_, "KVM_IOEVENTFD", KVM_IOEVENTFD, &bind));
  return {};
}

Result<void> Vm::SignalMessage(uint32_t address, uint32_t data) const {
  kvm_msi message{};
  message.address_lo = address;
  message.data = data;
  TRY(calls_->Do(fd_, "KVM_SIGNAL_MSI", KVM_SIGNAL_MSI, &message));
  return {};
}

}  // namespace msb::vmm
