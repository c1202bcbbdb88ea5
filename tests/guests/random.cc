// SPDX-License-Identifier: Apache-2.0
// Random numbers: buffers without room, with too much, and more of them than anybody wants.

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

// Answered with so many bytes; the bytes behind stay as they are.
void Ask(Machine& machine, const char* name, const Descriptor* chain, uint32_t count,
         uint32_t expected) {
  Used used{};
  bool answered = machine.rng().Do(0, chain, count, used);
  Text detail;
  if (!answered)
    detail << "no answer";
  else if (used.written != expected)
    detail << used.written << " bytes, not " << expected;
  machine.CaseSurvives(machine.rng(), name, detail.size() == 0, detail);
}

}  // namespace

void AbuseRandom(Machine& machine) {
  uint64_t buffer = AddressOf(machine.scratch());
  Descriptor readable[] = {{buffer, 4096, 0, 0}};
  Ask(machine, "nothing-to-write", readable, 1, 0);
  Descriptor mixed[] = {{buffer, 4096, 0, 0}, {buffer, 64, kWrite, 0}};
  Ask(machine, "some-to-write", mixed, 2, 64);
  Descriptor byte[] = {{buffer, 1, kWrite, 0}};
  Ask(machine, "one-byte", byte, 1, 1);
  // Half of memory: a request is answered with a part, in time that others can bear.
  Descriptor huge[] = {
      {machine.memory_bytes() / 2, static_cast<uint32_t>(machine.memory_bytes() / 2), kWrite, 0}};
  WriteAt(machine.memory_bytes() / 2 + 4096, uint64_t{0});
  Ask(machine, "half-of-memory", huge, 1, 4096);
  machine.Case("rng", "not-beyond-its-answer",
               ReadAt<uint64_t>(machine.memory_bytes() / 2 + 4096) == 0);
  Descriptor many[8];
  for (Descriptor& descriptor : many)
    descriptor = {machine.memory_bytes() / 2, static_cast<uint32_t>(machine.memory_bytes() / 2),
                  kWrite, 0};
  Ask(machine, "half-of-memory-8-times", many, 8, 4096);

  // A queue that is always full: refilled as soon as it is emptied.
  Driver& rng = machine.rng();
  Ring& ring = rng.ring(0);
  for (uint32_t i = 0; i < ring.size(); i++) ring.Set(i, {buffer + 4096 * i, 4096, kWrite, 0});
  uint32_t answers = 0;
  const char* dead = nullptr;
  for (uint32_t round = 0; round < 100 && dead == nullptr; round++) {
    for (uint32_t i = 0; i < ring.size(); i++) ring.Announce(static_cast<uint16_t>(i));
    rng.Notify(0);
    if (round % 10 == 0) dead = machine.OthersFail(rng);
    Used used;
    for (uint32_t i = 0; i < ring.size() && rng.Answer(0, used); i++)
      answers += used.written == 4096 ? 1 : 0;
  }
  Text detail;
  if (dead != nullptr) detail << "meanwhile stood still: " << dead;
  machine.CaseSurvives(rng, "always-full", dead == nullptr && answers == 100 * ring.size(), detail);
}

}  // namespace msb::test_guest
