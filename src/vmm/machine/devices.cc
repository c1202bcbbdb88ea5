// SPDX-License-Identifier: Apache-2.0
// Making the devices, and their kicks.

#include "vmm/machine/devices.h"

#include "base/check.h"
#include "sys/file.h"
#include "vmm/machine/address_map.h"
#include "vmm/virtio/balloon/device.h"
#include "vmm/virtio/block/device.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/rng/device.h"

namespace msb::vmm {

uint64_t Devices::WindowOf(size_t slot) { return kVirtioAddress.value + slot * kMmioBytes; }

Result<std::unique_ptr<Devices>> Devices::Create(DeviceFiles files, DeviceEvents events,
                                                 const GuestMemory& memory, IoApic& io_apic,
                                                 DeviceThread& thread, event::Loop& loop,
                                                 BlockWorker& worker) {
  std::unique_ptr<Devices> devices(new Devices());
  auto add = [&](std::unique_ptr<Device> device) {
    auto pin = static_cast<uint32_t>(devices->slots_.size() + 1);
    devices->slots_.push_back(
        std::make_unique<Slot>(std::move(device), memory, io_apic, pin, thread));
    devices->transports_.push_back(&devices->slots_.back()->transport);
  };
  add(TRY(ConsoleDevice::Create(loop, {.console = std::move(files.console),
                                       .agent = std::move(files.agent),
                                       .channel = std::move(events.channel)})
              .Context("console")));
  add(TRY(BlockDevice::Create(worker, std::move(files.root), {.id = "root"}).Context("root disk")));
  add(TRY(BlockDevice::Create(worker, std::move(files.upper),
                              {.access = DiskAccess::kWritable,
                               .id = "upper",
                               .storage_full = std::move(events.storage_full)})
              .Context("writable disk")));
  add(std::make_unique<RngDevice>(loop));
  add(std::make_unique<BalloonDevice>(loop));
  CHECK(devices->slots_.size() == kCount);
  return devices;
}

Result<void> Devices::BindKicks(const Vm& vm, event::Loop& loop) {
  for (size_t i = 0; i < slots_.size(); i++) {
    Slot& slot = *slots_[i];
    uint64_t address = WindowOf(i) + kMmioQueueNotify;
    // One eventfd a device whatever the number of its queues: a kick has all of them looked at,
    // which is a load from memory each.
    if (auto own = slot.device->KickFd(0)) {
      CHECK(slot.transport.queue_count() == 1);
      TRY(vm.BindKick(*own, address));
      continue;
    }
    slot.kick = TRY(sys::EventFd());
    TRY(vm.BindKick(slot.kick, address));
    auto on_kick = [&slot](event::Ready) {
      for (size_t queue = 0; queue < slot.transport.queue_count(); queue++)
        slot.transport.OnQueueKick(queue);
    };
    // By edges: nobody has to read it, which would be a system call for each kick.
    slot.watch = TRY(loop.Watch(slot.kick, event::Interest::kRead, on_kick, event::Trigger::kEdge));
  }
  return {};
}

std::vector<DeviceWindow> Devices::windows() const {
  std::vector<DeviceWindow> windows;
  for (size_t i = 0; i < slots_.size(); i++)
    windows.push_back({{WindowOf(i)}, static_cast<uint32_t>(i + 1)});
  return windows;
}

}  // namespace msb::vmm
