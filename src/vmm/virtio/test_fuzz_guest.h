// SPDX-License-Identifier: Apache-2.0
// A hostile guest for the fuzz targets: the input says what it writes, where, and when it kicks.

#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/bytes.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/mmio.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {

// 2 MiB: queue i has its areas in the (i+1)th 64 KiB, buffers lie from 512 KiB on.
class FuzzGuest {
 public:
  // `settle`: lets the device do what it has begun.
  FuzzGuest(Device& device, std::function<void()> settle);

  // Bring-up, then the steps of the input to its end. `own` gets the steps that are the device's:
  // it takes what it needs off the front.
  void Run(std::span<const std::byte> input, const std::function<void(ByteReader&)>& own);

  static GuestArena& Arena();
  MmioTransport& transport() { return transport_; }

 private:
  void Start(uint32_t features);
  // False at the end of the input.
  Result<void> Step(ByteReader& in, const std::function<void(ByteReader&)>& own);
  Result<void> WriteDescriptor(ByteReader& in, bool hostile);
  Result<void> Announce(ByteReader& in);
  Result<void> WriteMemory(ByteReader& in);
  Result<void> UseRegister(ByteReader& in);
  Result<size_t> QueueIndex(ByteReader& in);

  Device& device_;
  std::function<void()> settle_;
  CountingInterrupt interrupt_;
  InlineThread thread_;
  MmioTransport transport_;
  TestDriver driver_;
};

}  // namespace msb::vmm
