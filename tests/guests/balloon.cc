// SPDX-License-Identifier: Apache-2.0
// Balloon: pages that are not there, that are in use, that are given up twice; reports of parts of
// pages; a configuration that the guest writes.

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

enum : uint32_t { kInflate, kDeflate, kReport };

struct Pages {
  const char* name;
  uint32_t first, step, count;
  bool good;
};

void GiveUp(Machine& machine, uint32_t queue, const Pages& pages) {
  Driver& balloon = machine.balloon();
  uint64_t list = AddressOf(machine.scratch());
  for (uint32_t i = 0; i < pages.count; i++) WriteAt(list + 4 * i, pages.first + pages.step * i);
  Text name;
  name << (queue == kInflate ? "inflate-" : "deflate-") << pages.name;
  Descriptor chain[] = {{list, 4 * pages.count, 0, 0}};
  if (!pages.good) {
    balloon.ring(queue).Set(0, chain[0]);
    balloon.ring(queue).Announce(0);
    balloon.Notify(queue);
    return machine.CaseNeedsReset(balloon, name.c_str());
  }
  Used used{};
  bool answered = balloon.Do(queue, chain, 1, used);
  machine.CaseSurvives(balloon, name.c_str(), answered && used.written == 0);
}

void Inflate(Machine& machine) {
  auto all = static_cast<uint32_t>(machine.memory_bytes() / 4096);
  uint32_t unused = all / 2;
  const Pages pages[] = {
      {"one", unused, 0, 1, true},
      {"one-twice", unused, 0, 2, true},
      {"upwards", unused, 1, 200, true},
      {"downwards", unused + 1024, ~0u, 200, true},
      {"every-other", unused, 2, 200, true},
      {"as-many-as-may-be", unused, 1, 256, true},
      {"one-too-many", unused, 1, 257, false},
      {"behind-memory", all, 0, 1, false},
      {"over-the-end", all - 8, 1, 16, false},
      {"in-the-gap", 0xd0000, 0, 1, false},
      {"at-4-gib", 1 << 20, 0, 1, false},
      {"last-number", ~0u, 0, 1, false},
      {"numbers-wrap", ~0u - 3, 1, 8, false},
      {"good-then-bad", unused, 0x80000000, 2, false},
  };
  for (const Pages& each : pages) GiveUp(machine, kInflate, each);
  // Deflating takes nobody's word for a number.
  const Pages back[] = {{"one", unused, 0, 1, true},
                        {"never-given", unused + 9, 1, 64, true},
                        {"behind-memory", all, 1, 64, true},
                        {"last-number", ~0u, 0, 16, true}};
  for (const Pages& each : back) GiveUp(machine, kDeflate, each);
}

// Pages of the device's own queue, and of the list that names them: they read as zeros afterwards.
void InflateItself(Machine& machine) {
  Driver& balloon = machine.balloon();
  QueuePlace place = balloon.ring(kInflate).place();
  const uint64_t addresses[] = {place.descriptors, place.available, place.used,
                                AddressOf(machine.scratch())};
  const char* names[] = {"its-table", "its-available-ring", "its-used-ring", "its-own-list"};
  for (uint32_t i = 0; i < 4; i++) {
    uint64_t list = AddressOf(machine.scratch());
    WriteAt(list, static_cast<uint32_t>(addresses[i] / 4096));
    balloon.ring(kInflate).Set(0, {list, 4, 0, 0});
    balloon.ring(kInflate).Announce(0);
    balloon.Notify(kInflate);
    Text name;
    name << "inflate-" << names[i];
    machine.CaseSurvives(balloon, name.c_str());
  }
}

void Odd(Machine& machine) {
  Driver& balloon = machine.balloon();
  uint64_t buffer = AddressOf(machine.scratch());
  auto send = [&](const char* name, uint32_t queue, const Descriptor& descriptor) {
    balloon.ring(queue).Set(0, descriptor);
    balloon.ring(queue).Announce(0);
    balloon.Notify(queue);
    machine.CaseNeedsReset(balloon, name);
  };
  send("inflate-half-a-number", kInflate, {buffer, 7, 0, 0});
  send("inflate-all-memory-of-numbers", kInflate, {0, 1 << 26, 0, 0});
  send("report-half-a-page", kReport, {buffer, 2048, kWrite, 0});
  send("report-unaligned", kReport, {buffer + 16, 4096, kWrite, 0});
  send("report-a-byte", kReport, {buffer, 1, kWrite, 0});
  send("report-too-far", kReport, {machine.memory_bytes() - 4096, 8192, kWrite, 0});
}

void Report(Machine& machine) {
  Driver& balloon = machine.balloon();
  uint64_t unused = machine.memory_bytes() / 2;
  auto report = [&](const char* name, const Descriptor* chain, uint32_t count) {
    WriteAt(unused, uint64_t{1});
    Used used{};
    bool answered = balloon.Do(kReport, chain, count, used);
    bool zero = ReadAt<uint64_t>(unused) == 0;
    machine.CaseSurvives(balloon, name, answered && zero);
  };
  Descriptor page[] = {{unused, 4096, kWrite, 0}};
  report("report-a-page", page, 1);
  Descriptor half[] = {{unused, static_cast<uint32_t>(unused), kWrite, 0}};
  report("report-half-of-memory", half, 1);
  Descriptor overlapping[32];
  for (uint32_t i = 0; i < 32; i++) overlapping[i] = {unused + 4096 * i, 1 << 20, kWrite, 0};
  overlapping[31].address = unused;
  report("report-overlapping", overlapping, 32);
}

void Configure(Machine& machine) {
  Driver& balloon = machine.balloon();
  constexpr uint32_t kTarget = 0x100, kActual = 0x104;
  balloon.Write(kTarget, 0x12345678);
  machine.Case(balloon, "target-is-not-the-guests", balloon.Read(kTarget) == 0);
  balloon.Write(kActual, 0xffffffff);
  machine.Case(balloon, "actual-may-be-anything", balloon.Read(kActual) == 0xffffffff);
  WriteAt(balloon.window() + kActual, uint16_t{1});
  WriteAt(balloon.window() + kActual, uint64_t{1});
  machine.Case(balloon, "actual-of-other-widths", balloon.Read(kActual) == 0xffffffff);
  machine.CaseSurvives(balloon, "written");
}

}  // namespace

void AbuseBalloon(Machine& machine) {
  Inflate(machine);
  InflateItself(machine);
  Odd(machine);
  Report(machine);
  Configure(machine);
}

}  // namespace msb::test_guest
