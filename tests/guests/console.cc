// SPDX-License-Identifier: Apache-2.0
// Console: output without end and without a reader, input that nobody has room for, control
// messages of every kind. The host's end drops what it cannot take, so each case waits until it has
// read all.

#include "console.h"

#include <linux/virtio_console.h>

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {

bool SendControl(Driver& console, uint32_t port, uint16_t event, uint16_t value, uint64_t buffer) {
  WriteAt(buffer, port);
  WriteAt(buffer + 4, event);
  WriteAt(buffer + 6, value);
  Descriptor chain[] = {{buffer, 8, 0, 0}};
  Used used;
  return console.Do(kControlTransmit, chain, 1, used);
}

bool OpenAgentPort(Driver& console, uint64_t buffer, bool open) {
  return SendControl(console, kAgentPort, VIRTIO_CONSOLE_PORT_OPEN, open ? 1 : 0, buffer);
}

namespace {

constexpr uint16_t Next(uint32_t index) { return static_cast<uint16_t>(index + 1); }

// The device as it is now: others serve, the host has read everything.
void CaseAfterOutput(Machine& machine, const char* what, bool ok) {
  const char* other = machine.OthersFail(machine.console());
  machine.WaitUntilRead();
  Text detail;
  if (other != nullptr) detail << "meanwhile stood still: " << other;
  machine.CaseSurvives(machine.console(), what, ok && other == nullptr, detail);
}

// So many answers of a queue.
bool Answers(Driver& console, uint32_t queue, uint32_t count) {
  Used used;
  for (uint32_t i = 0; i < count; i++)
    if (!console.Answer(queue, used)) return false;
  return true;
}

// Half of memory in each of the pieces: more than any socket takes, whoever reads.
void HugeOutput(Machine& machine) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kConsoleTransmit);
  uint64_t unused = machine.memory_bytes() / 2;
  // SAFETY: the upper half of memory, where nothing of ours lies.
  memset(reinterpret_cast<void*>(unused), 0, unused);
  for (uint32_t i = 0; i < ring.size(); i++)
    ring.Set(i, {unused, static_cast<uint32_t>(unused), i + 1 < ring.size() ? kNext : uint16_t{0},
                 Next(i)});
  for (uint32_t i = 0; i < ring.size(); i++) ring.Announce(0);
  console.Notify(kConsoleTransmit);
  CaseAfterOutput(machine, "huge-output", Answers(console, kConsoleTransmit, ring.size()));
}

// Refilled as soon as it is emptied.
void EndlessOutput(Machine& machine) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kConsoleTransmit);
  memset(machine.scratch(), '.', Machine::kScratchBytes);
  for (uint32_t i = 0; i < ring.size(); i++)
    ring.Set(i, {AddressOf(machine.scratch()), 65536, 0, 0});
  bool good = true;
  for (uint32_t round = 0; round < 20 && good; round++) {
    for (uint32_t i = 0; i < ring.size(); i++) ring.Announce(static_cast<uint16_t>(i));
    console.Notify(kConsoleTransmit);
    if (round % 10 == 0) good = machine.OthersFail(console) == nullptr;
    good = good && Answers(console, kConsoleTransmit, ring.size());
  }
  CaseAfterOutput(machine, "endless-output", good);
}

// Linux waits with interrupts off until a buffer comes back: it does, whether anybody reads or not.
void OutputWithoutReader(Machine& machine) {
  machine.GiveConsoleBack();
  machine.Ask("leave-console-unread");
  machine.TakeConsole();
  memset(machine.scratch(), '-', 65536);
  Descriptor chain[] = {{AddressOf(machine.scratch()), 65536, 0, 0}};
  bool good = true;
  Used used;
  for (uint32_t i = 0; i < 128 && good; i++)
    good = machine.console().Do(kConsoleTransmit, chain, 1, used);
  CaseAfterOutput(machine, "output-without-reader", good);
}

// Takes what comes until the host's word; the number of other bytes.
uint32_t CountInput(Driver& console, const Descriptor* chain, uint32_t pieces) {
  uint32_t count = 0;
  for (;;) {
    Used used;
    if (!console.Do(kConsoleReceive, chain, pieces, used)) return 0;
    for (uint32_t i = 0, left = used.written; i < pieces; i++) {
      if ((chain[i].flags & kWrite) == 0) continue;
      uint32_t of_this = left < chain[i].bytes ? left : chain[i].bytes;
      for (uint32_t at = 0; at < of_this; at++) {
        if (ReadAt<char>(chain[i].address + at) == Machine::kGo) return count;
        count++;
      }
      left -= of_this;
    }
  }
}

// More input than there is room for, in portions of many kinds.
void Input(Machine& machine) {
  Driver& console = machine.console();
  uint64_t buffer = AddressOf(machine.scratch()), unused = machine.memory_bytes() / 2;
  struct Portion {
    const char* name;
    const char* ask;
    uint32_t bytes;
    uint32_t pieces;
    Descriptor chain[4];
  };
  const Portion portions[] = {
      {"input-byte-by-byte", "type 500", 500, 1, {{buffer, 1, kWrite, 0}}},
      {"input-in-crumbs",
       "type 501",
       501,
       4,
       {{buffer, 1, kWrite, 0},
        {buffer + 64, 2, kWrite, 0},
        {buffer + 128, 1, kWrite, 0},
        {buffer + 192, 3, kWrite, 0}}},
      {"input-beside-what-is-read",
       "type 502",
       502,
       2,
       {{buffer, 4096, 0, 0}, {buffer + 8192, 7, kWrite, 0}}},
      {"input-into-half-of-memory",
       "type 100000",
       100000,
       1,
       {{unused, static_cast<uint32_t>(unused), kWrite, 0}}},
  };
  for (const Portion& portion : portions) {
    machine.GiveConsoleBack();
    machine.Say(Text() << "ask " << portion.ask);
    machine.TakeConsole();
    // Nothing is taken in while there is no room, and nobody waits for that.
    bool others = machine.OthersFail(console) == nullptr;
    uint32_t count = CountInput(console, portion.chain, portion.pieces);
    Text detail;
    if (count != portion.bytes) detail << count << " bytes, not " << portion.bytes;
    machine.CaseSurvives(console, portion.name, others && count == portion.bytes, detail);
  }
}

void InputWithoutRoom(Machine& machine) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kConsoleReceive);
  machine.GiveConsoleBack();
  machine.Say(Text() << "ask type 100000");
  machine.TakeConsole();
  // Nothing to write to: back as they are, each time.
  ring.Set(0, {AddressOf(machine.scratch()), 64, 0, 0});
  bool good = true;
  for (uint32_t i = 0; i < 200 && good; i++) {
    ring.Announce(0);
    console.Notify(kConsoleReceive);
    Used used;
    good = console.Answer(kConsoleReceive, used) && used.written == 0;
  }
  Descriptor chain[] = {{AddressOf(machine.scratch()), 4096, kWrite, 0}};
  uint32_t count = CountInput(console, chain, 1);
  machine.CaseSurvives(console, "input-without-room", good && count == 100000);
}

// However often it is asked, there is one answer of each kind to give.
void ControlWithoutEnd(Machine& machine) {
  Driver& console = machine.console();
  uint64_t buffer = AddressOf(machine.scratch()), replies = buffer + 65536;
  bool good = true;
  for (uint32_t i = 0; i < 60 && good; i++)
    for (uint32_t port = 0; port < 2 && good; port++)
      good = SendControl(console, port, VIRTIO_CONSOLE_DEVICE_READY, 1, buffer) &&
             SendControl(console, port, VIRTIO_CONSOLE_PORT_READY, 1, buffer);
  Ring& ring = console.ring(kControlReceive);
  uint32_t answers = 0;
  Used used;
  for (uint32_t i = 0; i < ring.size(); i++) {
    ring.Set(i, {replies + 64 * i, 64, kWrite, 0});
    ring.Announce(static_cast<uint16_t>(i));
  }
  console.Notify(kControlReceive);
  // Two ports added, one the console, one with a name, which is open: five.
  while (answers < 5 && console.Answer(kControlReceive, used)) answers++;
  WaitFor([] { return false; }, 20 * kMilliseconds);
  bool more = ring.Take(used);
  Text detail;
  if (answers != 5 || more) detail << answers << (more ? " answers and more" : " answers");
  machine.CaseSurvives(console, "asked-without-end", good && answers == 5 && !more, detail);
}

void OddControl(Machine& machine) {
  Driver& console = machine.console();
  uint64_t buffer = AddressOf(machine.scratch());
  memset(machine.scratch(), 0xff, 65536);
  bool good = true;
  Used used;
  for (uint32_t bytes = 1; bytes <= 16 && good; bytes++) {
    Descriptor chain[] = {{buffer, bytes, 0, 0}};
    good = console.Do(kControlTransmit, chain, 1, used);
  }
  Descriptor large[] = {{buffer, 65536, 0, 0}}, to_write[] = {{buffer, 64, kWrite, 0}};
  good = good && console.Do(kControlTransmit, large, 1, used) &&
         console.Do(kControlTransmit, to_write, 1, used) && used.written == 0;
  const uint32_t ports[] = {0, 1, 2, 63, 0x7fffffff, 0xffffffff};
  for (uint32_t port : ports)
    for (uint32_t event = 0; event < 12 && good; event++)
      for (uint32_t value = 0; value < 3 && good; value++)
        good = SendControl(console, port, static_cast<uint16_t>(event == 11 ? 0xffff : event),
                           static_cast<uint16_t>(value == 2 ? 0xffff : value), buffer);
  machine.CaseSurvives(console, "odd-messages", good);

  // An answer has a header of eight bytes. What of a name does not fit is cut off.
  Ring& ring = console.ring(kControlReceive);
  ring.Set(0, {buffer + 4096, 7, kWrite, 0});
  ring.Announce(0);
  SendControl(console, 0, VIRTIO_CONSOLE_DEVICE_READY, 1, buffer);
  machine.CaseNeedsReset(console, "no-room-for-an-answer");
  ring.Set(0, {buffer + 4096, 10, kWrite, 0});
  ring.Announce(0);
  SendControl(console, kAgentPort, VIRTIO_CONSOLE_PORT_READY, 1, buffer);
  good = console.Answer(kControlReceive, used) && used.written == 10;
  machine.CaseSurvives(console, "half-a-name", good);
}

}  // namespace

void AbuseConsole(Machine& machine) {
  machine.TakeConsole();
  HugeOutput(machine);
  EndlessOutput(machine);
  OutputWithoutReader(machine);
  Input(machine);
  InputWithoutRoom(machine);
  ControlWithoutEnd(machine);
  OddControl(machine);
  machine.GiveConsoleBack();
}

}  // namespace msb::test_guest
