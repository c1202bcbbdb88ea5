// SPDX-License-Identifier: Apache-2.0
// Configuration: registers written at the wrong time. What has been agreed on stays as it is
// (virtio 1.2, 2.1, 3.1.1, 4.2.3).

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

constexpr uint32_t kAcknowledge = VIRTIO_CONFIG_S_ACKNOWLEDGE, kDriver = VIRTIO_CONFIG_S_DRIVER,
                   kFeaturesOk = VIRTIO_CONFIG_S_FEATURES_OK, kDriverOk = VIRTIO_CONFIG_S_DRIVER_OK,
                   kFailed = VIRTIO_CONFIG_S_FAILED;
constexpr uint64_t kGap = 0xd0000000;

// Status as it ought to be after the abuse, and that the device can still be had.
void CaseStatus(Machine& machine, Driver& driver, const char* what, uint32_t wanted) {
  uint32_t status = driver.Status();
  Text detail;
  if (status != wanted) detail << "status " << Hex{status} << ", not " << Hex{wanted};
  machine.CaseSurvives(driver, what, status == wanted, detail);
}

// The device goes on with what it was given before the abuse: no reset in between.
void CaseUnmoved(Machine& machine, Driver& driver, const char* what) {
  bool running = driver.Status() == kRunning;
  bool serves = running && machine.Serves(driver);
  Text detail;
  if (!running) detail << "status " << Hex{driver.Status()};
  if (running && !serves) detail << "serves no more";
  machine.CaseSurvives(driver, what, serves, detail);
}

void StatusOutOfOrder(Machine& machine, Driver& driver) {
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kDriver);
  CaseStatus(machine, driver, "driver-before-acknowledge", 0);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kDriverOk);
  CaseStatus(machine, driver, "driver-ok-first", 0);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge | kDriver | kDriverOk);
  CaseStatus(machine, driver, "driver-ok-without-features", 0);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kRunning);
  CaseStatus(machine, driver, "all-at-once-without-version", kAcknowledge | kDriver);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kNeedsReset | kAcknowledge);
  CaseStatus(machine, driver, "needs-reset-by-the-guest", kAcknowledge);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, 0xffffff00);
  CaseStatus(machine, driver, "high-bits", 0);
  driver.Start();
  driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge | kDriver);
  CaseUnmoved(machine, driver, "bits-taken-back");
  driver.Start();
  for (int i = 0; i < 100; i++) driver.Write(VIRTIO_MMIO_STATUS, kRunning);
  CaseUnmoved(machine, driver, "driver-ok-again");
  driver.Start();
  driver.Write(VIRTIO_MMIO_STATUS, kRunning | kFailed);
  CaseStatus(machine, driver, "failed-while-running", kRunning | kFailed);
  driver.Reset();
  driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge | kFailed);
  driver.Negotiate();
  driver.Write(VIRTIO_MMIO_STATUS, kRunning | kFailed);
  machine.CaseSurvives(driver, "failed-first");
  for (int i = 0; i < 200; i++) driver.Reset();
  CaseStatus(machine, driver, "reset-many-times", 0);
}

void Features(Machine& machine, Driver& driver) {
  auto refused = [&](const char* what, uint64_t features) {
    driver.Reset();
    driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge);
    driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge | kDriver);
    driver.SetFeatures(features);
    driver.Write(VIRTIO_MMIO_STATUS, kAcknowledge | kDriver | kFeaturesOk);
    CaseStatus(machine, driver, what, kAcknowledge | kDriver);
  };
  refused("features-all", ~uint64_t{0});
  refused("features-none", 0);
  refused("features-without-version", driver.Offered() & ~kVersion1);
  refused("features-one-too-many", driver.Offered() | uint64_t{1} << 63);
  refused("features-indirect", driver.Offered() | uint64_t{1} << 28);
  driver.Start();
  driver.SetFeatures(~uint64_t{0});
  driver.Write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0xffffffff);
  driver.Write(VIRTIO_MMIO_DRIVER_FEATURES, 0xffffffff);
  CaseUnmoved(machine, driver, "features-while-running");
  driver.Reset();
  driver.Negotiate();
  driver.SetFeatures(0);
  driver.SetAllQueues();
  driver.SetDriverOk();
  CaseUnmoved(machine, driver, "features-after-features-ok");
  driver.Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
  uint32_t third = driver.Read(VIRTIO_MMIO_DEVICE_FEATURES);
  driver.Write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0xffffffff);
  machine.CaseSurvives(driver, "features-beyond-64",
                       (third | driver.Read(VIRTIO_MMIO_DEVICE_FEATURES)) == 0);
}

void Queues(Machine& machine, Driver& driver) {
  auto move_all = [&] {
    for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++)
      driver.SetQueue(queue, {2, kGap, kGap, kGap});
  };
  driver.Start();
  move_all();
  CaseUnmoved(machine, driver, "queues-moved-while-running");
  driver.Reset();
  driver.Negotiate();
  driver.SetAllQueues();
  move_all();
  driver.SetDriverOk();
  CaseUnmoved(machine, driver, "queues-moved-after-ready");
  driver.Start();
  driver.Write(VIRTIO_MMIO_QUEUE_SEL, 0);
  driver.Write(VIRTIO_MMIO_QUEUE_READY, 0);
  bool ready = driver.Read(VIRTIO_MMIO_QUEUE_READY) == 1;
  if (!ready) machine.Case(driver, "queue-is-ready-no-more", false);
  CaseUnmoved(machine, driver, "queue-stopped");
  driver.Reset();
  const uint32_t early[] = {0, kAcknowledge, kAcknowledge | kDriver};
  for (uint32_t status : early) {
    if (status != 0) driver.Write(VIRTIO_MMIO_STATUS, status);
    move_all();
  }
  driver.Negotiate();
  driver.SetAllQueues();
  driver.SetDriverOk();
  CaseUnmoved(machine, driver, "queues-before-features");
  const uint32_t numbers[] = {Driver::kMaxQueues, 64, 0x10000, 0xffffffff};
  bool none = true;
  for (uint32_t number : numbers) {
    driver.Write(VIRTIO_MMIO_QUEUE_SEL, number);
    none = none && driver.Read(VIRTIO_MMIO_QUEUE_NUM_MAX) == 0 &&
           driver.Read(VIRTIO_MMIO_QUEUE_READY) == 0;
    driver.SetQueue(number, {4, kGap, kGap, kGap});
    driver.Notify(number);
  }
  machine.CaseSurvives(driver, "queues-that-are-not", none);
  driver.Reset();
  driver.Negotiate();
  driver.SetDriverOk();
  for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++) driver.Notify(queue);
  CaseStatus(machine, driver, "no-queue-at-all", kRunning);
  for (uint32_t only = 0; only < Driver::kMaxQueues; only++) {
    if (driver.LargestQueue(only) == 0) break;
    driver.Reset();
    driver.Negotiate();
    driver.ring(only).Clear(driver.LargestQueue(only));
    driver.SetQueue(only, driver.ring(only).place());
    driver.SetDriverOk();
    for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++) driver.Notify(queue);
    Text name;
    name << "queue-" << only << "-alone";
    CaseStatus(machine, driver, name.c_str(), kRunning);
  }
  // All of them in one place, which then is a queue of nonsense.
  driver.Reset();
  driver.Negotiate();
  uint64_t place = AddressOf(machine.scratch());
  for (uint32_t queue = 0; queue < Driver::kMaxQueues; queue++)
    if (uint32_t size = driver.LargestQueue(queue))
      driver.SetQueue(queue, {size, place, place, place});
  driver.SetDriverOk();
  for (uint32_t value = 0; value < 0x10000; value += 0x111) {
    WriteAt(place + 2, static_cast<uint16_t>(value));
    driver.Notify(0);
  }
  machine.CaseSurvives(driver, "queues-in-one-place");
}

void Notifications(Machine& machine, Driver& driver) {
  driver.Reset();
  for (uint32_t queue = 0; queue < 8; queue++) driver.Notify(queue);
  CaseStatus(machine, driver, "notified-before-anything", 0);
  driver.Reset();
  driver.Negotiate();
  driver.SetAllQueues();
  driver.ring(0).Announce(0xffff);
  for (uint32_t queue = 0; queue < 8; queue++) driver.Notify(queue);
  driver.ring(0).SetIndex(0);
  driver.SetDriverOk();
  CaseUnmoved(machine, driver, "notified-before-driver-ok");
  driver.Start();
  driver.Write(VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
  for (int i = 0; i < 100; i++) driver.Write(VIRTIO_MMIO_INTERRUPT_ACK, 3);
  CaseUnmoved(machine, driver, "acknowledged-for-nothing");
  // One that the device takes without the host's doing.
  uint32_t queue = &driver == &machine.console() ? 1 : 0;
  driver.ring(queue).Announce(0xffff);
  driver.Notify(queue);
  driver.WaitNeedsReset();
  driver.Write(VIRTIO_MMIO_STATUS, kRunning);
  driver.SetAllQueues();
  driver.Notify(queue);
  CaseStatus(machine, driver, "needs-reset-and-again", kRunning | kNeedsReset);
}

// Every byte of the configuration while the device runs, which then is what it was.
void Configuration(Machine& machine, Driver& driver) {
  driver.Start();
  uint64_t before[8], after[8];
  auto read = [&](uint64_t* into) {
    for (uint32_t i = 0; i < 8; i++) into[i] = ReadAt<uint64_t>(driver.window() + 0x100 + 8 * i);
  };
  read(before);
  for (uint32_t at = 0x100; at < 0x200; at++) {
    // What a balloon's guest has given up is the guest's to say.
    if (&driver == &machine.balloon() && at >= 0x100 && at < 0x108) continue;
    WriteAt(driver.window() + at, uint8_t{0xff});
    WriteAt(driver.window() + at, uint16_t{0xffff});
    WriteAt(driver.window() + at, uint32_t{0xffffffff});
  }
  read(after);
  if (memcmp(before, after, sizeof before) != 0)
    machine.Case(driver, "configuration-is-another", false);
  CaseUnmoved(machine, driver, "configuration-written");
}

}  // namespace

void AbuseConfiguration(Machine& machine) {
  for (uint32_t i = 0; i < Machine::kDevices; i++) {
    Driver& driver = machine.driver(i);
    bool is_console = &driver == &machine.console();
    if (is_console) machine.TakeConsole();
    StatusOutOfOrder(machine, driver);
    Features(machine, driver);
    Queues(machine, driver);
    Notifications(machine, driver);
    Configuration(machine, driver);
    if (is_console) machine.GiveConsoleBack();
  }
}

}  // namespace msb::test_guest
