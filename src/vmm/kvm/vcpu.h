// SPDX-License-Identifier: Apache-2.0
// Vcpu: one processor of a machine. Set up by the thread that builds the machine, then used by its
// own thread alone, but for Kick().

#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "sys/mapping.h"
#include "vmm/kvm/calls.h"

namespace msb::vmm {

// Why KVM_RUN came back.
struct VcpuExit {
  enum class Kind : uint8_t {
    kInterrupted,  // A signal, or Kick().
    kMmioRead,     // `data` is to be filled.
    kMmioWrite,    // `data` is what the guest wrote.
    kPortRead,     // `data`: `width` bytes for each of `data.size() / width` repetitions.
    kPortWrite,
    kHalted,          // HLT that nothing can end.
    kShutdown,        // Triple fault.
    kSystemEvent,     // KVM_SYSTEM_EVENT_*, in `number`.
    kEndOfInterrupt,  // Of a level-triggered line; the vector is `number`.
    kFailedEntry,     // The processor refused the guest's state; the hardware's reason is `number`.
    kInternalError,   // KVM_INTERNAL_ERROR_*, in `number`.
    kOther,           // KVM_EXIT_*, in `number`.
  };
  Kind kind = Kind::kInterrupted;
  uint8_t width = 0;
  uint64_t address = 0;
  uint64_t number = 0;
  // In the memory shared with KVM: valid until the next Run().
  std::span<std::byte> data;
};

class Vcpu {
 public:
  Result<void> SetCpuid(std::span<const kvm_cpuid_entry2> entries) const;
  Result<void> SetSpecialRegisters(const kvm_sregs& registers) const;
  Result<void> SetRegisters(const kvm_regs& registers) const;
  Result<kvm_regs> Registers() const;
  // XCR0: which states of XSAVE are on.
  Result<void> SetExtendedStates(uint64_t xcr0) const;

  // Until the guest needs something. An answer to a read is taken by the next call.
  Result<VcpuExit> Run() const;

  // Any thread: the next Run() returns at once, once. A Run() going on needs a signal as well.
  void Kick() const;
  // Undoes Kick().
  void ClearKick() const;

 private:
  friend class Vm;
  Vcpu(UniqueFd fd, sys::Mapping shared, KvmCalls& calls)
      : fd_(std::move(fd)), shared_(std::move(shared)), calls_(&calls) {}
  kvm_run& run() const;
  VcpuExit Describe() const;

  UniqueFd fd_;
  sys::Mapping shared_;  // struct kvm_run, and behind it the data of port exits.
  KvmCalls* calls_;
};

}  // namespace msb::vmm
