// SPDX-License-Identifier: Apache-2.0
// Races: a second processor writes a device's registers and rings while the first one starts, uses
// and resets it. What becomes of the device is nobody's promise but this: the other devices serve
// meanwhile, and after a reset it serves again.
//
// The second processor has no interrupts and no clock. It never halts: what would wake it is not
// sure to do so where the processor is emulated.

#include <linux/virtio_blk.h>

#include "console.h"
#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

constexpr uint32_t kRounds = 16;
// Of the second processor, should nobody stop it.
constexpr uint32_t kMostTurns = 100'000;
constexpr uint32_t kChains = 4;
constexpr uint64_t kGap = 0xd0000000;

// What both processors look at.
struct Shared {
  Machine* machine;
  Driver* driver;
  void (*volatile turn)(Shared&);
  volatile bool stop;
  volatile bool resting;
  uint32_t seed;

  uint32_t Random(uint32_t below) {
    seed = seed * 1664525 + 1013904223;
    return static_cast<uint32_t>(uint64_t{seed} * below >> 32);
  }
  bool is_balloon() const { return driver == &machine->balloon(); }
};
constinit Shared shared{};

void RunTurns() {
  for (;;) {
    auto turn = shared.turn;
    if (turn == nullptr) {
      Pause();
      continue;
    }
    for (uint32_t i = 0; i < kMostTurns && !shared.stop; i++) turn(shared);
    shared.turn = nullptr;
    shared.resting = true;
  }
}

struct Race {
  const char* name;
  void (*turn)(Shared&);
};

uint64_t AnyPlace(Shared& s) {
  // What the balloon is told of lies where page numbers lie that nobody misses.
  const uint64_t places[] = {AddressOf(s.machine->scratch()) + 64 * s.Random(1024),
                             s.is_balloon() ? AddressOf(s.machine->scratch())
                                            : s.machine->memory_bytes() / 2 + 4096 * s.Random(64),
                             kGap, s.machine->memory_bytes() - 8, ~uint64_t{15}};
  return places[s.Random(sizeof places / sizeof *places)];
}

constexpr Race kRaces[] = {
    {"notified", [](Shared& s) { s.driver->Notify(s.Random(8)); }},
    {"reset",
     [](Shared& s) {
       s.driver->Reset();
       for (uint32_t i = s.Random(2000); i > 0; i--) Pause();
     }},
    {"status-written",
     [](Shared& s) {
       constexpr uint32_t kStatuses[] = {0, 1, 3, 11, 15, 0x8f, 0x4f, 0xffffffff};
       s.driver->Write(VIRTIO_MMIO_STATUS, kStatuses[s.Random(8)]);
     }},
    {"queues-moved",
     [](Shared& s) {
       constexpr uint32_t kRegisters[] = {VIRTIO_MMIO_QUEUE_DESC_LOW,  VIRTIO_MMIO_QUEUE_DESC_HIGH,
                                          VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
                                          VIRTIO_MMIO_QUEUE_USED_LOW,  VIRTIO_MMIO_QUEUE_USED_HIGH};
       uint64_t place = AnyPlace(s);
       s.driver->Write(VIRTIO_MMIO_QUEUE_SEL, s.Random(8));
       s.driver->Write(VIRTIO_MMIO_QUEUE_READY, 0);
       s.driver->Write(VIRTIO_MMIO_QUEUE_NUM, s.Random(300));
       uint32_t which = s.Random(6);
       s.driver->Write(kRegisters[which], static_cast<uint32_t>(place >> which % 2 * 32));
       s.driver->Write(VIRTIO_MMIO_QUEUE_READY, s.Random(2));
     }},
    {"features-written",
     [](Shared& s) {
       s.driver->Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, s.Random(3));
       s.driver->Write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, s.Random(3));
       s.driver->Write(VIRTIO_MMIO_DRIVER_FEATURES, s.seed);
     }},
    {"configuration-written",
     [](Shared& s) {
       uint64_t at = s.driver->window() + 0x100 + s.Random(0x100);
       WriteAt(at, uint8_t{0xff});
       WriteAt(at, s.seed);
       ReadAt<uint64_t>(at);
       s.driver->Write(VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
     }},
    {"rings-rewritten",
     [](Shared& s) {
       constexpr uint32_t kBytes[] = {16, 64, 64, 512, 4096, 1, 0, 0xffffffff};
       uint32_t bytes = kBytes[s.Random(8)];
       Ring& ring = s.driver->ring(s.Random(Driver::kMaxQueues));
       auto flags = static_cast<uint16_t>(s.Random(16) == 0 ? s.Random(8) : s.Random(4));
       ring.Set(s.Random(3 * kChains),
                {AnyPlace(s), bytes, flags, static_cast<uint16_t>(s.Random(3 * kChains))});
       if (s.Random(64) == 0)
         WriteAt(ring.place().available + 2, static_cast<uint16_t>(s.Random(16)));
     }},
    {"started", [](Shared& s) { s.driver->Start(); }},
};

// Some good work in each queue, so that something is under way.
void Load(Machine& machine, Driver& driver) {
  uint64_t unused = machine.memory_bytes() / 2, scratch = AddressOf(machine.scratch());
  bool disk = &driver == &machine.root() || &driver == &machine.upper();
  for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++) {
    Ring& ring = driver.ring(queue);
    if (ring.size() == 0) break;
    for (uint32_t i = 0; i < kChains; i++) {
      if (!disk) {
        // Of the console every other queue receives; of the balloon the third.
        bool writes = &driver == &machine.rng() ||
                      (&driver == &machine.balloon() ? queue == 2 : queue % 2 == 0);
        ring.Set(i, {writes ? unused + 4096 * i : scratch + 4096 * i, writes ? 4096u : 64u,
                     writes ? kWrite : uint16_t{0}, 0});
        ring.Announce(static_cast<uint16_t>(i));
        continue;
      }
      uint64_t header = unused + 64 * i;
      WriteAt(header, uint32_t{VIRTIO_BLK_T_IN});
      WriteAt(header + 8, uint64_t{i});
      ring.Set(3 * i, {header, 16, kNext, static_cast<uint16_t>(3 * i + 1)});
      ring.Set(3 * i + 1, {unused + (i + 1) * Machine::kScratchBytes, Machine::kScratchBytes,
                           kNext | kWrite, static_cast<uint16_t>(3 * i + 2)});
      ring.Set(3 * i + 2, {header + 32, 1, kWrite, 0});
      ring.Announce(static_cast<uint16_t>(3 * i));
    }
    driver.Notify(queue);
  }
}

// The name of a device that stood still meanwhile, or nullptr. The second processor is at rest
// after it.
const char* Run(Machine& machine, Driver& driver, void (*turn)(Shared&)) {
  const char* other = nullptr;
  // Numbers of a page that nobody uses, for whatever takes them for such.
  auto page = static_cast<uint32_t>(machine.memory_bytes() / 4096 - 16);
  for (uint32_t at = 0; at < Machine::kScratchBytes; at += 4)
    WriteAt(AddressOf(machine.scratch()) + at, page);
  shared.stop = false;
  shared.resting = false;
  shared.turn = turn;
  for (uint32_t round = 0; round < kRounds && other == nullptr; round++) {
    driver.Start();
    Load(machine, driver);
    if (round % 4 == 0) other = machine.OthersFail(driver);
    if (round % 2 == 0) driver.Reset();
  }
  shared.stop = true;
  if (!WaitFor([] { return shared.resting; })) return "the second processor";
  return other;
}

void AbuseDevice(Machine& machine, Driver& driver) {
  bool is_console = &driver == &machine.console();
  if (is_console) machine.TakeConsole();
  shared.driver = &driver;
  for (const Race& race : kRaces) {
    const char* other = Run(machine, driver, race.turn);
    if (is_console && driver.Start()) machine.WaitUntilRead();
    Text detail;
    if (other != nullptr) detail << "meanwhile stood still: " << other;
    machine.CaseSurvives(driver, race.name, other == nullptr, detail);
  }
  if (is_console) machine.GiveConsoleBack();
}

}  // namespace

void AbuseByRaces(Machine& machine) {
  shared.machine = &machine;
  shared.driver = &machine.console();
  shared.seed = 1;
  if (!StartSecondProcessor(RunTurns))
    return machine.Case("processors", "second-runs", false, Text() << "it did not start");
  machine.Case("processors", "second-runs", true);
  for (uint32_t i = 0; i < Machine::kDevices; i++) AbuseDevice(machine, machine.driver(i));
  // Begun anew in the middle of an access to a device.
  bool started = true;
  for (uint32_t i = 0; i < 20 && started; i++) {
    shared.driver = &machine.driver(i % Machine::kDevices);
    if (shared.driver == &machine.console()) shared.driver = &machine.rng();
    shared.stop = false;
    shared.resting = false;
    shared.turn = [](Shared& s) { s.driver->Reset(); };
    started = StartSecondProcessor(RunTurns);
  }
  shared.stop = true;
  started = started && WaitFor([] { return shared.resting; });
  machine.Case("processors", "begins-anew-in-the-middle", machine.StartAll() && started);
  for (uint32_t i = 1; i < Machine::kDevices; i++)
    machine.CaseSurvives(machine.driver(i), "reset-by-one-that-begins-anew");
}

}  // namespace msb::test_guest
