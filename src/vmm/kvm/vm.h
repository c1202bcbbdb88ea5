// SPDX-License-Identifier: Apache-2.0
// Vm: one machine of KVM: memory slots, processors, interrupts, kicks.
//
// Interrupts: the local APICs are in the kernel, the I/O APIC is ours ("split irqchip"), and an
// interrupt is sent to a local APIC as a message (MSI). KVM delivers it within the call; with its
// own I/O APIC and an irqfd the same wakes a kernel thread that delivers it. The kernel's PIC, PIT
// and I/O APIC are then code that the guest cannot reach.

#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/kvm/calls.h"
#include "vmm/kvm/vcpu.h"

namespace msb::vmm {

// Model specific registers that the guest may touch: a bit for each from `first` on.
struct MsrRange {
  uint32_t first;
  uint32_t count;
  std::span<const uint8_t> readable;
  std::span<const uint8_t> writable;
};

class Vm {
 public:
  // Before the first processor.
  Result<void> SplitIrqchip() const;
  // Where Intel processors without "unrestricted guest" keep three pages of the host's own.
  Result<void> SetTssAddress(uint32_t address) const;
  // All else answers #GP. At most 16 ranges.
  Result<void> SetMsrFilter(std::span<const MsrRange> ranges) const;
  // `host` stays mapped as long as the machine lives; `start` and size are whole pages.
  Result<void> SetMemory(uint32_t slot, uint64_t start, std::span<std::byte> host) const;
  Result<Vcpu> CreateVcpu(uint32_t index) const;

  // A write of the guest to `address`, of whatever width and value, counts the eventfd up instead
  // of leaving the guest.
  Result<void> BindKick(BorrowedFd eventfd, uint64_t address) const;
  // Address and data as the local APICs read them (Intel SDM vol. 3, 11.11). Any thread.
  Result<void> SignalMessage(uint32_t address, uint32_t data) const;

 private:
  friend class Kvm;
  Vm(UniqueFd fd, size_t run_size, KvmCalls& calls)
      : fd_(std::move(fd)), run_size_(run_size), calls_(&calls) {}
  UniqueFd fd_;
  size_t run_size_;
  KvmCalls* calls_;
};

}  // namespace msb::vmm
