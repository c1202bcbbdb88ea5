// SPDX-License-Identifier: Apache-2.0
// The paths that bytes take, counted in allocations: there are none.

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "vmm/virtio/block/device.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/rng/device.h"
#include "vmm/virtio/test_driver.h"

namespace {
// Of all threads.
std::atomic<uint64_t> allocations =
    0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
}  // namespace

// Not inlined: the compiler would see a free() of what it knows as new.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace msb::vmm {
namespace {

constexpr int kTimes = 200;

TEST(HotPath, OfTheAgentPortAllocatesNothing) {
  GuestArena arena(8 * kMiB);
  CountingInterrupt interrupt;
  InlineThread thread;
  auto loop = std::move(*event::Loop::Create());
  auto console = *sys::MakeSocketPair();
  auto agent = *sys::MakeSocketPair();
  auto device = std::move(*ConsoleDevice::Create(
      *loop, {.console = std::move(console.second), .agent = std::move(agent.second)}));
  MmioTransport transport(*device, arena.memory(), interrupt, thread);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  auto open = ControlBytes({.port = 1, .event = 6, .value = 1});
  ASSERT_TRUE(driver.queue(3).Add({{arena.Place(AsText(open)), 8}}));
  driver.Kick(3);
  auto out = arena.Allocate(4096);
  auto in = arena.Allocate(4096);
  std::array<std::byte, 4096> bytes{};
  uint64_t before = 0;
  // The first time may make what is kept, in the driver too.
  for (int i = 0; i <= kTimes; i++) {
    if (i == 1) before = allocations.load();
    ASSERT_TRUE(driver.queue(5).Add({{out, 4096}}));
    driver.Kick(5);
    iovec part{bytes.data(), bytes.size()};
    ASSERT_EQ((*sys::ReceiveParts(agent.first, std::span(&part, 1))).value_or(0), 4096U);
    ASSERT_TRUE(driver.queue(5).Take());
    ASSERT_TRUE(driver.queue(4).Add({{in, 4096, true}}));
    driver.Kick(4);
    ASSERT_EQ((*sys::SendParts(agent.first, std::span(&part, 1))).value_or(0), 4096U);
    ASSERT_TRUE(loop->RunOnce(Deadline::After(Clock::duration::zero())).ok());
    ASSERT_TRUE(driver.queue(4).Take());
  }
  EXPECT_EQ(allocations.load(), before);
}

TEST(HotPath, OfADiskAllocatesNothing) {
  GuestArena arena(8 * kMiB);
  CountingInterrupt interrupt;
  InlineThread thread;
  auto worker = std::move(*BlockWorker::Start());
  auto file = std::move(*sys::MemFd("disk"));
  ASSERT_TRUE(sys::Truncate(file, kMiB).ok());
  auto device =
      std::move(*BlockDevice::Create(*worker, std::move(file), {.access = DiskAccess::kWritable}));
  MmioTransport transport(*device, arena.memory(), interrupt, thread);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  auto read = arena.Place(std::string(16, '\0'));
  auto write = arena.Place(std::string("\1") + std::string(15, '\0'));
  auto data = arena.Allocate(4096);
  auto status = arena.Allocate(1);
  uint64_t before = 0;
  for (int i = 0; i <= kTimes; i++) {
    if (i == 1) before = allocations.load();
    bool in = i % 2 == 0;
    ASSERT_TRUE(
        driver.queue(0).Add({{in ? read : write, 16}, {data, 4096, in}, {status, 1, true}}));
    driver.Kick(0);
    auto deadline = Deadline::After(std::chrono::seconds(10));
    bool done = false;
    while (!done && !deadline.Passed()) done = driver.queue(0).Take().has_value();
    ASSERT_TRUE(done);
  }
  EXPECT_EQ(allocations.load(), before);
}

TEST(HotPath, OfRandomNumbersAllocatesNothing) {
  GuestArena arena(8 * kMiB);
  CountingInterrupt interrupt;
  InlineThread thread;
  auto loop = std::move(*event::Loop::Create());
  RngDevice device(*loop);
  MmioTransport transport(device, arena.memory(), interrupt, thread);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  auto at = arena.Allocate(64);
  uint64_t before = allocations.load();
  for (int i = 0; i < kTimes; i++) {
    ASSERT_TRUE(driver.queue(0).Add({{at, 64, true}}));
    driver.Kick(0);
    ASSERT_TRUE(driver.queue(0).Take());
  }
  EXPECT_EQ(allocations.load(), before);
}

}  // namespace
}  // namespace msb::vmm
