// SPDX-License-Identifier: Apache-2.0
// Any bytes as the saved state of a balloon: what parses is written again as it was, and what can
// be restored runs.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "vmm/virtio/balloon/device.h"
#include "vmm/virtio/test_driver.h"
#include "vmm/virtio/transport_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb;
  auto bytes = std::as_bytes(std::span(data, size));
  auto state = vmm::ParseTransport(bytes);
  if (!state.ok()) return 0;
  auto again = vmm::SerializeTransport(*state);
  CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  static auto loop = std::move(*event::Loop::Create());
  static vmm::GuestArena arena(2 * kMiB);
  vmm::BalloonDevice device(*loop);
  vmm::CountingInterrupt interrupt;
  vmm::InlineThread thread;
  vmm::MmioTransport transport(device, arena.memory(), interrupt, thread);
  if (!transport.Restore(*state).ok()) return 0;
  (void)loop->RunOnce(Deadline::After(Clock::duration::zero()));
  for (size_t i = 0; i < transport.queue_count(); i++) transport.OnQueueKick(i);
  vmm::TestDriver driver(arena, transport);
  CHECK(driver.Start());
  arena.Rewind();
  return 0;
}
