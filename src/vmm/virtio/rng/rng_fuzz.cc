// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the entropy device.

#include <cstddef>
#include <cstdint>

#include "vmm/virtio/rng/device.h"
#include "vmm/virtio/test_fuzz_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb;
  static auto loop = std::move(*event::Loop::Create());
  vmm::RngDevice device(*loop);
  vmm::FuzzGuest guest(device,
                       [] { (void)loop->RunOnce(Deadline::After(Clock::duration::zero())); });
  guest.Run(std::as_bytes(std::span(data, size)), [](ByteReader&) {});
  return 0;
}
