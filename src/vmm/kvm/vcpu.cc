// SPDX-License-Identifier: Apache-2.0
// The calls of a processor, and what its exits mean.

#include "vmm/kvm/vcpu.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>

#include "base/check.h"
#include "vmm/kvm/cpuid_calls.h"

namespace msb::vmm {

using Kind = VcpuExit::Kind;

kvm_run& Vcpu::run() const {
  // SAFETY: KVM_GET_VCPU_MMAP_SIZE was at least this structure's size, and KVM puts it first.
  return *reinterpret_cast<kvm_run*>(shared_.bytes().data());
}

Result<void> Vcpu::SetCpuid(std::span<const kvm_cpuid_entry2> entries) const {
  CHECK(entries.size() <= kMaxCpuidEntries);
  auto table = std::make_unique<CpuidTable>();
  table->header.count = static_cast<uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), table->entries.begin());
  TRY(calls_->Do(fd_, "KVM_SET_CPUID2", kSetCpuid2, table.get()));
  return {};
}

Result<void> Vcpu::SetSpecialRegisters(const kvm_sregs& registers) const {
  TRY(calls_->Do(fd_, "KVM_SET_SREGS", KVM_SET_SREGS, &registers));
  return {};
}

Result<void> Vcpu::SetRegisters(const kvm_regs& registers) const {
  TRY(calls_->Do(fd_, "KVM_SET_REGS", KVM_SET_REGS, &registers));
  return {};
}

Result<kvm_regs> Vcpu::Registers() const {
  kvm_regs registers{};
  TRY(calls_->Do(fd_, "KVM_GET_REGS", KVM_GET_REGS, &registers));
  return registers;
}

Result<void> Vcpu::SetExtendedStates(uint64_t xcr0) const {
  kvm_xcrs registers{};
  registers.nr_xcrs = 1;
  registers.xcrs[0].value = xcr0;
  TRY(calls_->Do(fd_, "KVM_SET_XCRS", KVM_SET_XCRS, &registers));
  return {};
}

Result<VcpuExit> Vcpu::Run() const {
  if (calls_->Control(fd_, KVM_RUN, 0) == -1) {
    // EAGAIN: a processor that waits for its start was woken without one.
    if (errno == EINTR || errno == EAGAIN) return VcpuExit{};
    // EFAULT: the host had no page to give, or not the right to.
    return Error::Errno("KVM_RUN");
  }
  return Describe();
}

VcpuExit Vcpu::Describe() const {
  kvm_run& shared = run();
  switch (shared.exit_reason) {
    case KVM_EXIT_MMIO: {
      auto data = std::as_writable_bytes(std::span(shared.mmio.data));
      auto length = std::min<size_t>(shared.mmio.len, data.size());
      return {.kind = shared.mmio.is_write != 0 ? Kind::kMmioWrite : Kind::kMmioRead,
              .width = static_cast<uint8_t>(length),
              .address = shared.mmio.phys_addr,
              .data = data.first(length)};
    }
    case KVM_EXIT_IO: {
      auto whole = shared_.bytes();
      uint64_t size = uint64_t{shared.io.size} * shared.io.count;
      if (shared.io.data_offset > whole.size() || size > whole.size() - shared.io.data_offset)
        return {.kind = Kind::kOther, .number = KVM_EXIT_IO};
      return {.kind = shared.io.direction == KVM_EXIT_IO_OUT ? Kind::kPortWrite : Kind::kPortRead,
              .width = shared.io.size,
              .address = shared.io.port,
              .data = whole.subspan(shared.io.data_offset, size)};
    }
    case KVM_EXIT_HLT:
      return {.kind = Kind::kHalted};
    case KVM_EXIT_SHUTDOWN:
      return {.kind = Kind::kShutdown};
    case KVM_EXIT_SYSTEM_EVENT:
      return {.kind = Kind::kSystemEvent, .number = shared.system_event.type};
    case KVM_EXIT_IOAPIC_EOI:
      return {.kind = Kind::kEndOfInterrupt, .number = shared.eoi.vector};
    case KVM_EXIT_FAIL_ENTRY:
      return {.kind = Kind::kFailedEntry,
              .number = shared.fail_entry.hardware_entry_failure_reason};
    case KVM_EXIT_INTERNAL_ERROR:
      return {.kind = Kind::kInternalError, .number = shared.internal.suberror};
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return {};
    default:
      return {.kind = Kind::kOther, .number = shared.exit_reason};
  }
}

// One byte that KVM reads when it is about to enter the guest.
void Vcpu::Kick() const { std::atomic_ref(run().immediate_exit).store(1); }
void Vcpu::ClearKick() const { std::atomic_ref(run().immediate_exit).store(0); }

}  // namespace msb::vmm
