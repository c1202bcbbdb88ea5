// SPDX-License-Identifier: Apache-2.0
// Agent channel: bytes that are no frames, hellos without end, a host that does not read, a port
// that opens and closes, a host that is gone. The console, which is the same device, goes on
// meanwhile: all cases are told through it.

#include <linux/virtio_console.h>

#include "console.h"
#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

constexpr uint32_t kPiece = 65536;
constexpr uint32_t kPieces = Machine::kScratchBytes / kPiece;

// A control message's place, which no other use of the scratch memory has.
uint64_t MessageOf(Machine& machine) { return machine.memory_bytes() / 2; }

void Open(Machine& machine, bool open = true) {
  OpenAgentPort(machine.console(), MessageOf(machine), open);
}

void Case(Machine& machine, const char* what, bool ok, const Text& detail = {}) {
  if (const char* other = machine.OthersFail(machine.console()))
    return machine.Case("channel", what, false, Text() << "meanwhile stood still: " << other);
  if (machine.console().NeedsReset())
    return machine.Case("channel", what, false, Text() << "needs a reset");
  machine.Case("channel", what, ok, detail);
}

// The host has what is on its way read and forgotten; the device starts anew.
void Anew(Machine& machine) {
  machine.Ask("forget");
  machine.GiveConsoleBack();
}

// The scratch memory full of numbers, from zero on: what the host compares with.
void FillWithNumbers(Machine& machine) {
  for (uint32_t i = 0; i < Machine::kScratchBytes / 4; i++)
    WriteAt(AddressOf(machine.scratch()) + 4 * i, i);
}

// All of the scratch memory, as many pieces.
void Announce(Machine& machine) {
  Ring& ring = machine.console().ring(kAgentTransmit);
  for (uint32_t i = 0; i < kPieces; i++) {
    ring.Set(i, {AddressOf(machine.scratch()) + kPiece * i, kPiece, 0, 0});
    ring.Announce(static_cast<uint16_t>(i));
  }
  machine.console().Notify(kAgentTransmit);
}

uint32_t AnswersOf(Driver& console, uint32_t queue, uint32_t most) {
  Used used;
  uint32_t count = 0;
  while (count < most && console.Answer(queue, used)) count++;
  return count;
}

void Garbage(Machine& machine) {
  Driver& console = machine.console();
  Descriptor some[] = {{AddressOf(machine.scratch()), 100, 0, 0}};
  Used used;
  Case(machine, "says-something-while-closed", console.Do(kAgentTransmit, some, 1, used));
  Anew(machine);

  Open(machine);
  uint32_t number = 1;
  for (uint32_t i = 0; i < Machine::kScratchBytes / 4; i++) {
    number = number * 1664525 + 1013904223;
    WriteAt(AddressOf(machine.scratch()) + 4 * i, number);
  }
  bool good = true;
  for (int round = 0; round < 4 && good; round++) {
    Announce(machine);
    good = AnswersOf(console, kAgentTransmit, kPieces) == kPieces;
  }
  Case(machine, "garbage", good);
  Anew(machine);

  // A header that announces the most that a frame may have, and nothing behind it; a hello, again
  // and again (schema/frames.md).
  const uint8_t hello[16] = {0x00, 0x80, 1};
  Open(machine);
  for (uint32_t at = 0; at < kPiece; at += sizeof hello)
    memcpy(machine.scratch() + at, hello, sizeof hello);
  Descriptor chain[] = {{AddressOf(machine.scratch()), kPiece, 0, 0}};
  for (int i = 0; i < 100 && good; i++) good = console.Do(kAgentTransmit, chain, 1, used);
  Case(machine, "hello-without-end", good);
  Anew(machine);
}

// More in one chain than any socket takes: the host has it whole and in order, the others their
// turn meanwhile.
void Huge(Machine& machine) {
  Driver& console = machine.console();
  FillWithNumbers(machine);
  Open(machine);
  constexpr uint32_t kQuarter = Machine::kScratchBytes / 4;
  Ring& ring = console.ring(kAgentTransmit);
  for (uint32_t i = 0; i < ring.size(); i++)
    ring.Set(i, {AddressOf(machine.scratch()) + kQuarter * (i % 4), kQuarter,
                 i + 1 < ring.size() ? kNext : uint16_t{0}, static_cast<uint16_t>(i + 1)});
  ring.Announce(0);
  console.Notify(kAgentTransmit);
  const char* other = machine.OthersFail(console);
  bool answered = AnswersOf(console, kAgentTransmit, 1) == 1;
  machine.Ask("compare 16777216");
  Case(machine, "16-mebibytes-at-once", answered && other == nullptr);
  Anew(machine);
}

// Nothing of the channel is lost, so it waits; nobody else does.
void HostDoesNotRead(Machine& machine) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kAgentTransmit);
  FillWithNumbers(machine);
  auto block = [&] {
    machine.Ask("leave-agent-unread");
    Open(machine);
    Announce(machine);
    // What the socket holds is taken, and the rest stays where it is.
    return !WaitFor([&] { return ring.used_index() == kPieces; }, 100 * kMilliseconds);
  };
  bool waits = block();
  Case(machine, "host-does-not-read", waits);
  bool late = WaitFor([&] { return ring.used_index() == kPieces; }, 10 * kMilliseconds);
  machine.Ask("compare 1048576");
  bool all = AnswersOf(console, kAgentTransmit, kPieces) == kPieces;
  Case(machine, "nothing-is-lost-or-twice", !late && all);
  Anew(machine);

  waits = block();
  for (int i = 0; i < 50; i++) {
    Open(machine, false);
    Open(machine);
  }
  Case(machine, "closed-and-opened-while-it-waits", waits);
  machine.Ask("compare 1048576");
  Case(machine, "and-goes-on", AnswersOf(console, kAgentTransmit, kPieces) == kPieces);
  Anew(machine);

  // The piece that is half through is changed under the device.
  waits = block();
  for (uint32_t i = 0; i < kPieces; i++)
    ring.Set(i, {AddressOf(machine.scratch()), i % 2 == 0 ? 1u : kPiece, 0, 0});
  machine.Ask("forget");
  Case(machine, "shorter-while-it-waits",
       waits && AnswersOf(console, kAgentTransmit, kPieces) == kPieces);
  Anew(machine);

  for (int i = 0; i < 20; i++) {
    waits = block() && waits;
    machine.GiveConsoleBack();
  }
  Case(machine, "reset-while-it-waits", waits);
  Anew(machine);
}

// Collects numbers from buffers of so many bytes; false when they are not those that were sent.
bool Collect(Machine& machine, uint32_t wanted, uint32_t each) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kAgentReceive);
  uint64_t buffer = AddressOf(machine.scratch());
  uint32_t got = 0;
  for (uint32_t i = 0; i < ring.size(); i++) ring.Set(i, {buffer + 4096 * i, each, kWrite, 0});
  for (uint32_t i = 0; i < ring.size(); i++) ring.Announce(static_cast<uint16_t>(i));
  console.Notify(kAgentReceive);
  Used used;
  while (got < wanted && console.Answer(kAgentReceive, used)) {
    if (used.written == 0 || used.written > each || used.head >= ring.size()) return false;
    for (uint32_t i = 0; i < used.written; i++, got++)
      if (ReadAt<uint8_t>(buffer + 4096 * used.head + i) !=
          static_cast<uint8_t>(got / 4 >> got % 4 * 8))
        return false;
    ring.Announce(static_cast<uint16_t>(used.head));
    console.Notify(kAgentReceive);
  }
  return got == wanted;
}

void Receive(Machine& machine) {
  Driver& console = machine.console();
  Ring& ring = console.ring(kAgentReceive);
  uint64_t buffer = AddressOf(machine.scratch());
  machine.Ask("send 100000");
  ring.Set(0, {buffer, 4096, kWrite, 0});
  ring.Announce(0);
  console.Notify(kAgentReceive);
  bool came = WaitFor([&] { return ring.used_index() != 0; }, 50 * kMilliseconds);
  Case(machine, "nothing-comes-while-closed", !came);
  machine.GiveConsoleBack();
  Open(machine);
  Case(machine, "comes-when-opened", Collect(machine, 100000, 4096));
  Anew(machine);

  machine.Ask("send 600");
  Open(machine);
  Case(machine, "byte-by-byte", Collect(machine, 600, 1));
  Anew(machine);

  // Chains without room, then half of memory.
  machine.Ask("send 50000");
  Open(machine);
  bool good = true;
  Used used{};
  Descriptor none[] = {{buffer, 4096, 0, 0}};
  for (int i = 0; i < 200 && good; i++)
    good = console.Do(kAgentReceive, none, 1, used) && used.written == 0;
  Descriptor huge[] = {
      {MessageOf(machine) + 4096, static_cast<uint32_t>(MessageOf(machine) - 4096), kWrite, 0}};
  uint32_t got = 0;
  while (good && got < 50000) {
    good = console.Do(kAgentReceive, huge, 1, used) && used.written > 0;
    got += used.written;
  }
  Case(machine, "no-room-then-too-much", good && got == 50000);
  Anew(machine);

  // Full at the host's end, nobody takes it, and the guest starts anew.
  machine.Ask("send 150000");
  for (int i = 0; i < 50; i++) {
    Open(machine);
    machine.GiveConsoleBack();
  }
  Open(machine);
  Case(machine, "full-while-starting-anew", Collect(machine, 150000, 4096));
  Anew(machine);
}

void OpensAndCloses(Machine& machine) {
  for (int i = 0; i < 500; i++) Open(machine, i % 2 == 0);
  Case(machine, "opens-and-closes", true);
  Anew(machine);
}

// From here on there is nobody. What is said goes nowhere, and comes back at once.
void HostIsGone(Machine& machine) {
  Driver& console = machine.console();
  Ring& replies = console.ring(kControlReceive);
  uint64_t buffer = AddressOf(machine.scratch());
  Open(machine);
  for (uint32_t i = 0; i < replies.size(); i++) {
    replies.Set(i, {buffer + 64 * i, 64, kWrite, 0});
    replies.Announce(static_cast<uint16_t>(i));
  }
  SendControl(console, kAgentPort, VIRTIO_CONSOLE_PORT_READY, 1, MessageOf(machine));
  // Its name, that it is open, and then that it is not.
  bool open = AnswersOf(console, kControlReceive, 2) == 2;
  machine.Ask("hang-up");
  Used used{};
  bool told = console.Answer(kControlReceive, used) && used.head < replies.size();
  uint64_t message = buffer + 64 * used.head;
  told = told && open && ReadAt<uint32_t>(message) == kAgentPort &&
         ReadAt<uint32_t>(message + 4) == VIRTIO_CONSOLE_PORT_OPEN;
  Case(machine, "is-told-that-the-host-is-gone", told);
  bool good = true;
  FillWithNumbers(machine);
  for (int round = 0; round < 4 && good; round++) {
    Announce(machine);
    good = AnswersOf(console, kAgentTransmit, kPieces) == kPieces;
  }
  Case(machine, "says-something-to-nobody", good);
  for (int i = 0; i < 200; i++) Open(machine, i % 2 == 0);
  machine.GiveConsoleBack();
  Open(machine);
  Case(machine, "starts-anew-without-a-host", true);
}

}  // namespace

void AbuseChannel(Machine& machine) {
  Garbage(machine);
  Huge(machine);
  HostDoesNotRead(machine);
  Receive(machine);
  OpensAndCloses(machine);
  HostIsGone(machine);
}

}  // namespace msb::test_guest
