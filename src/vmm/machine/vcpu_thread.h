// SPDX-License-Identifier: Apache-2.0
// VcpuThread: the thread that is one processor of the guest. It runs hostile code, and shares
// nothing with the device thread but the devices' registers.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/result.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/address_map.h"
#include "vmm/machine/outcome.h"

namespace msb::vmm {

struct ExitCounts {
  std::atomic<uint64_t> device_reads = 0;
  std::atomic<uint64_t> device_writes = 0;
  std::atomic<uint64_t> ports = 0;
};

class VcpuThread {
 public:
  struct Parts {
    const AddressMap* addresses = nullptr;
    // First on the new thread: to confine it.
    std::function<void()> on_start;
    // On the thread, once, when the processor cannot go on.
    std::function<void(Outcome)> on_end;
  };

  // Before the first thread: the signal that interrupts KVM_RUN gets a handler.
  static Result<void> PrepareSignal();

  // The processor waits for Go().
  VcpuThread(uint32_t index, Vcpu vcpu, Parts parts);
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;
  // Ends it, wherever it is. Whoever it may wait for must have let it go.
  ~VcpuThread();

  void Go() { Tell(Order::kRun); }
  const ExitCounts& counts() const { return counts_; }

 private:
  // What the thread has been told to do.
  enum class Order : uint32_t { kWait, kRun, kStop };

  void Main();
  // nullopt: told to stop.
  std::optional<Outcome> RunGuest();
  // nullopt: it goes on.
  std::optional<Outcome> Handle(const VcpuExit& exit);
  Outcome Failed(const char* what, uint64_t number) const;

  const uint32_t index_;
  const Vcpu vcpu_;
  const Parts parts_;
  ExitCounts counts_;
  void Tell(Order order);

  // Atomic for the running processor's look at each exit; the lock is for who waits.
  std::atomic<Order> order_ = Order::kWait;
  std::mutex mutex_;
  std::condition_variable told_;
  std::thread thread_;
};

}  // namespace msb::vmm
