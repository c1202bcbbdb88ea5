// SPDX-License-Identifier: Apache-2.0
// Rings: every queue of every device, with chains, indexes and places that no driver would make
// (virtio 1.2, 2.7). All of them are mistakes that cost the device a reset, but those at the end.

#include <linux/virtio_console.h>

#include "console.h"
#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

struct Bench {
  Machine& machine;
  Driver& driver;
  uint32_t queue;
  Ring& ring;
  uint64_t buffer;  // Memory that nothing else uses.
};

struct Abuse {
  const char* name;
  void (*what)(const Bench&);
};

void Single(const Bench& bench, const Descriptor& descriptor) {
  bench.ring.Set(0, descriptor);
  bench.ring.Announce(0);
}

// A chain of so many good descriptors, whose last goes on to `next`.
void ChainTo(const Bench& bench, uint32_t count, uint16_t next) {
  for (uint32_t i = 0; i < count; i++)
    bench.ring.Set(i, {bench.buffer, 16, kNext, static_cast<uint16_t>(i + 1)});
  bench.ring.Set(count - 1, {bench.buffer, 16, kNext, next});
  bench.ring.Announce(0);
}

uint16_t Short(uint64_t number) { return static_cast<uint16_t>(number); }

constexpr uint64_t kGap = 0xd0000000;

constexpr Abuse kBroken[] = {
    {"head-is-size", [](const Bench& b) { b.ring.Announce(Short(b.ring.size())); }},
    {"head-is-last-number", [](const Bench& b) { b.ring.Announce(0xffff); }},
    {"next-is-size", [](const Bench& b) { ChainTo(b, 1, Short(b.ring.size())); }},
    {"next-is-last-number", [](const Bench& b) { ChainTo(b, 2, 0xffff); }},
    {"loop-of-one", [](const Bench& b) { ChainTo(b, 1, 0); }},
    {"loop-of-two", [](const Bench& b) { ChainTo(b, 2, 0); }},
    {"loop-of-all", [](const Bench& b) { ChainTo(b, b.ring.size(), 0); }},
    {"loop-at-the-end",
     [](const Bench& b) { ChainTo(b, b.ring.size(), Short(b.ring.size() - 1)); }},
    {"length-zero",
     [](const Bench& b) {
       Single(b, {b.buffer, 0, 0, 0});
     }},
    {"length-zero-to-write",
     [](const Bench& b) {
       Single(b, {b.buffer, 0, kWrite, 0});
     }},
    {"length-4-gib",
     [](const Bench& b) {
       Single(b, {0, 0xffffffff, kWrite, 0});
     }},
    {"length-2-gib",
     [](const Bench& b) {
       Single(b, {b.buffer, 0x80000000, 0, 0});
     }},
    {"one-byte-too-far",
     [](const Bench& b) {
       Single(b, {b.machine.memory_bytes() - 15, 16, kWrite, 0});
     }},
    {"behind-memory",
     [](const Bench& b) {
       Single(b, {b.machine.memory_bytes(), 16, 0, 0});
     }},
    {"in-the-gap",
     [](const Bench& b) {
       Single(b, {kGap, 16, kWrite, 0});
     }},
    {"in-its-own-registers",
     [](const Bench& b) {
       Single(b, {b.driver.window(), 4, 0, 0});
     }},
    {"at-4-gib",
     [](const Bench& b) {
       Single(b, {uint64_t{1} << 32, 16, 0, 0});
     }},
    {"in-the-upper-half",
     [](const Bench& b) {
       Single(b, {uint64_t{1} << 63, 16, kWrite, 0});
     }},
    {"wraps-around",
     [](const Bench& b) {
       Single(b, {~uint64_t{7}, 16, kWrite, 0});
     }},
    {"wraps-into-memory",
     [](const Bench& b) {
       Single(b, {~uint64_t{0}, 0xffff, 0, 0});
     }},
    {"readable-after-writable",
     [](const Bench& b) {
       b.ring.Set(0, {b.buffer, 16, kWrite | kNext, 1});
       Single(b, {b.buffer, 16, kWrite | kNext, 1});
       b.ring.Set(1, {b.buffer, 16, 0, 0});
     }},
    {"second-outside",
     [](const Bench& b) {
       b.ring.Set(1, {kGap, 16, kWrite, 0});
       Single(b, {b.buffer, 16, kNext, 1});
     }},
    {"indirect",
     [](const Bench& b) {
       Single(b, {b.buffer, 32, kIndirect, 0});
     }},
    {"indirect-of-nothing",
     [](const Bench& b) {
       Single(b, {b.buffer, 0, kIndirect, 0});
     }},
    {"indirect-of-odd-length",
     [](const Bench& b) {
       Single(b, {b.buffer, 17, kIndirect, 0});
     }},
    {"indirect-and-next",
     [](const Bench& b) {
       Single(b, {b.buffer, 16, kIndirect | kNext, 1});
     }},
    {"indirect-to-itself",
     [](const Bench& b) {
       // A table that begins with a descriptor of the same table.
       WriteAt<uint64_t>(b.buffer, b.buffer);
       WriteAt<uint32_t>(b.buffer + 8, 16);
       WriteAt<uint32_t>(b.buffer + 12, kIndirect);
       Single(b, {b.buffer, 16, kIndirect, 0});
     }},
    {"all-flags",
     [](const Bench& b) {
       Single(b, {b.buffer, 16, 0xffff, 0});
     }},
    {"index-jumps", [](const Bench& b) { b.ring.SetIndex(Short(b.ring.size() + 1)); }},
    {"index-jumps-far", [](const Bench& b) { b.ring.SetIndex(0x8000); }},
    {"index-goes-back", [](const Bench& b) { b.ring.SetIndex(0xffff); }},
    {"more-than-4-gib",
     [](const Bench& b) {
       uint32_t count = b.ring.size();
       // Of queues too short for that, one that is not there makes it wrong.
       uint16_t last = count * b.machine.memory_bytes() >> 32 == 0 ? kIndirect : uint16_t{0};
       for (uint32_t i = 0; i < count; i++)
         b.ring.Set(i, {0, static_cast<uint32_t>(b.machine.memory_bytes()),
                        i + 1 < count ? kNext : last, Short(i + 1)});
       b.ring.Announce(0);
     }},
};

struct Misplacing {
  const char* name;
  void (*what)(const Bench&, QueuePlace&);
};

constexpr Misplacing kMisplaced[] = {
    {"of-no-size", [](const Bench&, QueuePlace& place) { place.size = 0; }},
    {"of-odd-size", [](const Bench&, QueuePlace& place) { place.size = 3; }},
    {"of-twice-the-size", [](const Bench&, QueuePlace& place) { place.size *= 2; }},
    {"of-32768", [](const Bench&, QueuePlace& place) { place.size = 32768; }},
    {"of-65536", [](const Bench&, QueuePlace& place) { place.size = 65536; }},
    {"table-in-the-gap", [](const Bench&, QueuePlace& place) { place.descriptors = kGap; }},
    {"table-behind-memory",
     [](const Bench& b, QueuePlace& place) { place.descriptors = b.machine.memory_bytes(); }},
    {"table-straddles",
     [](const Bench& b, QueuePlace& place) { place.descriptors = b.machine.memory_bytes() - 16; }},
    {"table-wraps", [](const Bench&, QueuePlace& place) { place.descriptors = ~uint64_t{15}; }},
    {"table-unaligned", [](const Bench&, QueuePlace& place) { place.descriptors += 8; }},
    {"available-in-the-gap", [](const Bench&, QueuePlace& place) { place.available = kGap; }},
    {"available-straddles",
     [](const Bench& b, QueuePlace& place) { place.available = b.machine.memory_bytes() - 4; }},
    {"available-wraps", [](const Bench&, QueuePlace& place) { place.available = ~uint64_t{7}; }},
    {"available-unaligned", [](const Bench&, QueuePlace& place) { place.available += 1; }},
    {"used-in-the-gap", [](const Bench&, QueuePlace& place) { place.used = kGap; }},
    {"used-straddles",
     [](const Bench& b, QueuePlace& place) { place.used = b.machine.memory_bytes() - 8; }},
    {"used-wraps", [](const Bench&, QueuePlace& place) { place.used = ~uint64_t{7}; }},
    {"used-unaligned", [](const Bench&, QueuePlace& place) { place.used += 2; }},
    {"all-at-4-gib",
     [](const Bench&, QueuePlace& place) {
       place.descriptors = place.available = place.used = uint64_t{1} << 32;
     }},
};

// What is bad taste only, or hurts nobody but the guest: the device may take it or not.
constexpr Abuse kOdd[] = {
    {"one-head-many-times",
     [](const Bench& b) {
       b.ring.Set(0, {b.buffer, 64, kWrite, 0});
       for (uint32_t i = 0; i < b.ring.size(); i++) b.ring.Announce(0);
     }},
    {"writes-over-its-table",
     [](const Bench& b) {
       for (uint32_t i = 0; i < 4; i++) {
         b.ring.Set(i, {b.ring.place().descriptors, 4096, kWrite, 0});
         b.ring.Announce(Short(i));
       }
     }},
    {"writes-over-available",
     [](const Bench& b) {
       Single(b, {b.ring.place().available, 4096, kWrite, 0});
     }},
    {"writes-over-used",
     [](const Bench& b) {
       Single(b, {b.ring.place().used, 4096, kWrite, 0});
     }},
    {"reads-its-own-rings",
     [](const Bench& b) {
       Single(b, {b.ring.place().descriptors, 3 * 4096, 0, 0});
     }},
    {"pieces-overlap",
     [](const Bench& b) {
       uint32_t count = b.ring.size();
       for (uint32_t i = 0; i < count; i++)
         b.ring.Set(
             i, {b.buffer + i, 4096, Short(i + 1 < count ? kWrite | kNext : kWrite), Short(i + 1)});
       b.ring.Announce(0);
     }},
};

// The console's queues for receiving are looked at when there is something to receive.
void Provoke(const Bench& bench) {
  bench.driver.Notify(bench.queue);
  if (&bench.driver != &bench.machine.console()) return;
  uint64_t message = bench.buffer + Machine::kScratchBytes / 2;
  if (bench.queue == kControlReceive)
    SendControl(bench.driver, 0, VIRTIO_CONSOLE_DEVICE_READY, 1, message);
  if (bench.queue == kAgentReceive) OpenAgentPort(bench.driver, message);
}

const char* NameOf(Text& text, const Bench& bench, const char* what) {
  text << "q" << bench.queue << "-" << what;
  return text.c_str();
}

void AbuseQueue(const Bench& bench) {
  auto& [machine, driver, queue, ring, buffer] = bench;
  for (const Abuse& abuse : kBroken) {
    driver.Start();
    abuse.what(bench);
    Provoke(bench);
    Text name;
    machine.CaseNeedsReset(driver, NameOf(name, bench, abuse.name));
  }
  for (const Misplacing& misplacing : kMisplaced) {
    driver.Reset();
    driver.Negotiate();
    driver.SetAllQueues();
    driver.Write(VIRTIO_MMIO_QUEUE_SEL, queue);
    driver.Write(VIRTIO_MMIO_QUEUE_READY, 0);
    // A size that the device does not take leaves the one before.
    driver.Write(VIRTIO_MMIO_QUEUE_NUM, 0);
    QueuePlace place = ring.place();
    misplacing.what(bench, place);
    driver.SetQueue(queue, place);
    driver.SetDriverOk();
    Text name;
    machine.CaseNeedsReset(driver, NameOf(name, bench, misplacing.name));
  }
  for (const Abuse& abuse : kOdd) {
    driver.Start();
    abuse.what(bench);
    Provoke(bench);
    Text name;
    machine.CaseSurvives(driver, NameOf(name, bench, abuse.name));
  }
}

}  // namespace

void AbuseRings(Machine& machine) {
  for (uint32_t i = 0; i < Machine::kDevices; i++) {
    Driver& driver = machine.driver(i);
    bool is_console = &driver == &machine.console();
    if (is_console) machine.TakeConsole();
    for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++)
      if (driver.LargestQueue(queue) != 0)
        AbuseQueue({machine, driver, queue, driver.ring(queue), AddressOf(machine.scratch())});
    if (is_console) machine.GiveConsoleBack();
  }
}

}  // namespace msb::test_guest
