// SPDX-License-Identifier: Apache-2.0
// Devices: the virtio devices of a machine, each with its window of registers, its line of the I/O
// APIC and its kicks.
//
// Slot, window and line follow from the order, which is the order of probing: console, root disk
// (vda), writable disk (vdb), random numbers, balloon. Line 0 is nobody's.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "vmm/arch/x86_64/io_apic.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/command_line.h"
#include "vmm/virtio/block/worker.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/device_thread.h"
#include "vmm/virtio/interrupt.h"
#include "vmm/virtio/mmio.h"

namespace msb::vmm {

struct DeviceFiles {
  UniqueFd root;   // Read-only.
  UniqueFd upper;  // Writable.
  UniqueFd agent;  // Stream sockets.
  UniqueFd console;
};

struct DeviceEvents {
  std::function<void(bool open)> channel;  // Device thread: the guest's end of the agent port.
  std::function<void()> storage_full;      // Worker thread.
};

class Devices {
 public:
  static constexpr uint32_t kCount = 5;
  static constexpr uint32_t kPins = kCount + 1;

  // All references outlive this. `worker` is started.
  static Result<std::unique_ptr<Devices>> Create(DeviceFiles files, DeviceEvents events,
                                                 const GuestMemory& memory, IoApic& io_apic,
                                                 DeviceThread& thread, event::Loop& loop,
                                                 BlockWorker& worker);
  // The guest's kicks leave KVM by eventfds: those of a device that works on a thread of its own go
  // there, the others come to the loop.
  Result<void> BindKicks(const Vm& vm, event::Loop& loop);

  std::vector<DeviceWindow> windows() const;
  std::span<MmioTransport* const> transports() const { return transports_; }

 private:
  class Line final : public Interrupt {
   public:
    Line(IoApic& io_apic, uint32_t pin) : io_apic_(io_apic), pin_(pin) {}
    void Raise() override { io_apic_.Raise(pin_); }

   private:
    IoApic& io_apic_;
    const uint32_t pin_;
  };
  struct Slot {
    Slot(std::unique_ptr<Device> made, const GuestMemory& memory, IoApic& io_apic, uint32_t pin,
         DeviceThread& thread)
        : device(std::move(made)), line(io_apic, pin), transport(*device, memory, line, thread) {}
    std::unique_ptr<Device> device;
    Line line;
    MmioTransport transport;
    UniqueFd kick;
    event::Loop::Registration watch;
  };

  Devices() = default;
  static uint64_t WindowOf(size_t slot);
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<MmioTransport*> transports_;
};

}  // namespace msb::vmm
