// SPDX-License-Identifier: Apache-2.0
// Machine: a guest's memory, processors and devices, from descriptors to its named end.
//
//   Create -> SetUpKvm -> Start -> (the loop runs: this is the device thread) -> ended() ->
//   destroyed
//
// Threads: the caller's is the device thread and runs the loop; one worker reads and writes disks;
// each processor has its own. Each calls `confine` before anything else. KVM refuses a machine to
// every process but the one that made it, so nothing forks after Create().

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "vmm/arch/x86_64/io_apic.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/address_map.h"
#include "vmm/machine/command_line.h"
#include "vmm/machine/devices.h"
#include "vmm/machine/loop_thread.h"
#include "vmm/machine/outcome.h"
#include "vmm/machine/vcpu_thread.h"
#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

// The least with which the guest kernel gets as far as its first program.
inline constexpr uint64_t kMinMemoryBytes = 64ull << 20;

struct MachineSpec {
  uint32_t cpus = 1;  // At most kMaxCpus.
  uint64_t memory_bytes = 0;
  Console console = Console::kQuiet;
};

struct MachineFiles {
  UniqueFd kernel;
  UniqueFd initramfs;
  DeviceFiles devices;
};

enum class ThreadClass : uint8_t { kWorker, kVcpu };

struct MachineHooks {
  DeviceEvents events;
  // First on each thread that the machine makes.
  std::function<void(ThreadClass)> confine;
};

class Machine {
 public:
  // Memory, devices, kernel and initramfs; nothing is asked of KVM. `loop` outlives the machine,
  // and does not run again when that is gone.
  static Result<std::unique_ptr<Machine>> Create(const MachineSpec& spec, Vm vm, MachineFiles files,
                                                 MachineHooks hooks, event::Loop& loop);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  // On the loop's thread, with the loop at rest.
  ~Machine();

  // What KVM has a part in: memory slots, kicks, processors, which wait for Start(). Apart from
  // Create(), because the remedy for a KVM that refuses is another than for a kernel that cannot be
  // read. Once; /dev/kvm is closed when it returns.
  Result<void> SetUpKvm(Kvm kvm);
  // Lets the processors run. When they cannot go on, the loop is stopped and ended() says why.
  void Start();
  const std::optional<Outcome>& ended() const { return ended_; }

 private:
  Machine(const MachineSpec& spec, GuestMemory memory, Vm vm, event::Loop& loop);
  Result<void> LoadGuest(const MachineFiles& files);
  Result<void> BindToKvm(const Kvm& kvm);
  Result<void> MakeCpus(std::span<const kvm_cpuid_entry2> supported);
  void End(Outcome outcome);

  const MachineSpec spec_;
  std::function<void(ThreadClass)> confine_;
  event::Loop& loop_;
  // Before everything that uses it, so that it goes last.
  GuestMemory memory_;
  Vm vm_;
  IoApic io_apic_;
  LoopThread device_thread_;
  std::unique_ptr<BlockWorker> worker_;
  std::unique_ptr<Devices> devices_;
  std::optional<AddressMap> addresses_;
  uint32_t entry_ = 0;  // Of the kernel.
  std::vector<std::unique_ptr<VcpuThread>> cpus_;
  std::optional<Outcome> ended_;
};

}  // namespace msb::vmm
