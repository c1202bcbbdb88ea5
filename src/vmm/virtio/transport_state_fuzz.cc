// SPDX-License-Identifier: Apache-2.0
// Any bytes as the saved state of a device that works on the loop, of the type that they name: what
// parses is written again as it was, and what can be restored runs.

#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "sys/socket.h"
#include "vmm/virtio/balloon/device.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/rng/device.h"
#include "vmm/virtio/test_driver.h"
#include "vmm/virtio/transport_state.h"

namespace {

std::unique_ptr<msb::vmm::Device> MakeDevice(uint32_t id, msb::event::Loop& loop,
                                             msb::sys::SocketPair& console,
                                             msb::sys::SocketPair& agent) {
  if (id == VIRTIO_ID_RNG) return std::make_unique<msb::vmm::RngDevice>(loop);
  if (id != VIRTIO_ID_CONSOLE) return std::make_unique<msb::vmm::BalloonDevice>(loop);
  auto device = msb::vmm::ConsoleDevice::Create(
      loop, {.console = std::move(console.second), .agent = std::move(agent.second)});
  CHECK(device.ok());
  return *std::move(device);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb;
  auto bytes = std::as_bytes(std::span(data, size));
  auto state = vmm::ParseTransport(bytes);
  if (!state.ok()) return 0;
  auto again = vmm::SerializeTransport(*state);
  CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  static auto loop = std::move(*event::Loop::Create());
  static vmm::GuestArena arena(2 * kMiB);
  auto console = std::move(*sys::MakeSocketPair());
  auto agent = std::move(*sys::MakeSocketPair());
  auto device = MakeDevice(state->device_id, *loop, console, agent);
  vmm::CountingInterrupt interrupt;
  vmm::InlineThread thread;
  vmm::MmioTransport transport(*device, arena.memory(), interrupt, thread);
  if (!transport.Restore(*state).ok()) return 0;
  (void)loop->RunOnce(Deadline::After(Clock::duration::zero()));
  for (size_t i = 0; i < transport.queue_count(); i++) transport.OnQueueKick(i);
  vmm::TestDriver driver(arena, transport);
  CHECK(driver.Start());
  arena.Rewind();
  return 0;
}
