// SPDX-License-Identifier: Apache-2.0
// Many processors of a guest at one device's registers, with a device thread at work. What counts
// is that ThreadSanitizer finds nothing, that nothing stands still, and that the device works
// afterwards.

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "sys/socket.h"
#include "vmm/virtio/balloon/device.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/rng/device.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

constexpr int kProcessors = 3;
constexpr int kAccesses = 3000;

// Registers as a confused guest uses them, from one processor.
void Hammer(MmioTransport& transport, unsigned seed) {
  std::minstd_rand random(seed);
  constexpr uint32_t kStatuses[] = {0, 1, 3, 11, 15};
  for (int i = 0; i < kAccesses; i++) {
    auto offset = static_cast<uint32_t>(random() % (kMmioBytes / 4)) * 4;
    uint32_t value = random() % 3 == 0 ? random() % 4 : static_cast<uint32_t>(random());
    // Bring-ups, one step at a time, so that activations come about.
    if (i % 3 == 0) {
      offset = 0x070;
      value = kStatuses[i / 3 % 5];
    }
    uint64_t out;
    transport.Read(offset, std::as_writable_bytes(std::span(&out, 1)).first(4));
    transport.Write(offset, std::as_bytes(std::span(&value, 1)));
    if (i % 7 == 0) {
      uint32_t queue = random() % 8;
      transport.Write(kMmioQueueNotify, std::as_bytes(std::span(&queue, 1)));
    }
  }
}

void Race(Device& device, RealThread& thread, GuestArena& arena) {
  CountingInterrupt interrupt;
  // Made and ended on the device thread, as the machine does.
  std::unique_ptr<MmioTransport> transport;
  thread.Call([&] {
    transport = std::make_unique<MmioTransport>(device, arena.memory(), interrupt, thread);
  });
  std::vector<std::thread> processors;
  for (unsigned i = 0; i < kProcessors; i++)
    processors.emplace_back([&, i] { Hammer(*transport, i + 1); });
  for (auto& processor : processors) processor.join();
  TestDriver driver(arena, *transport);
  EXPECT_TRUE(driver.Start());
  EXPECT_GT(transport->metrics().resets.load(), 0U);
  thread.Call([&] { transport.reset(); });
}

TEST(Race, OfProcessorsAtTheConsole) {
  GuestArena arena(8 * kMiB);
  RealThread thread;
  auto console = *sys::MakeSocketPair();
  auto agent = *sys::MakeSocketPair();
  std::unique_ptr<ConsoleDevice> device;
  thread.Call([&] {
    device = std::move(*ConsoleDevice::Create(
        thread.loop(), {.console = std::move(console.second), .agent = std::move(agent.second)}));
  });
  Race(*device, thread, arena);
  thread.Call([&] { device.reset(); });
}

TEST(Race, OfProcessorsAtTheRandomNumbers) {
  GuestArena arena(8 * kMiB);
  RealThread thread;
  RngDevice device(thread.loop());
  Race(device, thread, arena);
}

TEST(Race, OfProcessorsAtTheBalloonWhoseTargetChanges) {
  GuestArena arena(8 * kMiB);
  RealThread thread;
  BalloonDevice device(thread.loop());
  std::atomic<bool> stop = false;
  std::thread host([&] {
    for (uint32_t pages = 0; !stop; pages++) thread.Call([&] { device.SetTarget(pages); });
  });
  Race(device, thread, arena);
  stop = true;
  host.join();
}

// A driver whose traffic goes on from one thread, while another interrupts, reads and acknowledges.
TEST(Race, OfTrafficAndInterruptHandling) {
  GuestArena arena(8 * kMiB);
  RealThread thread;
  RngDevice device(thread.loop());
  CountingInterrupt interrupt;
  MmioTransport transport(device, arena.memory(), interrupt, thread);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  auto at = arena.Allocate(64);
  std::atomic<bool> stop = false;
  std::thread handler([&] {
    while (!stop) {
      uint32_t status = 0;
      transport.Read(0x060, std::as_writable_bytes(std::span(&status, 1)));
      transport.Write(0x064, std::as_bytes(std::span(&status, 1)));
    }
  });
  for (int i = 0; i < 2000; i++) {
    ASSERT_TRUE(driver.queue(0).Add({{at, 8, true}}));
    if (driver.queue(0).KickDue()) driver.Write(kMmioQueueNotify, 0);
    auto deadline = Deadline::After(std::chrono::seconds(10));
    bool done = false;
    while (!done && !deadline.Passed()) done = driver.queue(0).Take().has_value();
    ASSERT_TRUE(done) << i;
  }
  stop = true;
  handler.join();
}

}  // namespace
}  // namespace msb::vmm
