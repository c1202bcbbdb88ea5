// SPDX-License-Identifier: Apache-2.0
// Registers: every offset of every window, of the empty places around them and of the I/O APIC,
// read and written in every width; ports.

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

constexpr uint64_t kWindowBytes = 0x200, kConfiguration = 0x100;
// What is looked at from the first window on: all windows and as many places without one.
constexpr uint64_t kPlaceBytes = 0x1000;
constexpr uint32_t kWidths[] = {1, 2, 4, 8};

uint64_t ReadWidth(uint64_t address, uint32_t width) {
  switch (width) {
    case 1:
      return ReadAt<uint8_t>(address);
    case 2:
      return ReadAt<uint16_t>(address);
    case 4:
      return ReadAt<uint32_t>(address);
    default:
      return ReadAt<uint64_t>(address);
  }
}

void WriteWidth(uint64_t address, uint32_t width, uint64_t value) {
  switch (width) {
    case 1:
      return WriteAt(address, static_cast<uint8_t>(value));
    case 2:
      return WriteAt(address, static_cast<uint16_t>(value));
    case 4:
      return WriteAt(address, static_cast<uint32_t>(value));
    default:
      return WriteAt(address, value);
  }
}

uint64_t Ones(uint32_t width) { return width == 8 ? ~uint64_t{0} : (uint64_t{1} << 8 * width) - 1; }

// Is `value` what a read of `width` bytes, `offset` into a window, has to answer? Registers of
// which we know nothing may be anything.
bool Plausible(const Driver& driver, uint64_t offset, uint32_t width, uint64_t value) {
  if (offset + width > kWindowBytes) return value == 0;
  if (offset >= kConfiguration) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < width; i++)
      bytes |= uint64_t{ReadAt<uint8_t>(driver.window() + offset + i)} << 8 * i;
    return value == bytes;
  }
  if (width != 4 || offset % 4 != 0) return value == 0;
  if (offset == VIRTIO_MMIO_MAGIC_VALUE) return value == 0x74726976;
  if (offset == VIRTIO_MMIO_VERSION) return value == 2;
  return true;
}

void ReadAll(Machine& machine) {
  for (uint32_t i = 0; i < Machine::kDevices; i++) {
    Driver& driver = machine.driver(i);
    Text wrong;
    for (uint32_t width : kWidths)
      for (uint64_t offset = 0; offset < kWindowBytes; offset++) {
        uint64_t value = ReadWidth(driver.window() + offset, width);
        if (wrong.size() == 0 && !Plausible(driver, offset, width, value))
          wrong << "width " << width << " at " << Hex{offset} << ": " << Hex{value};
      }
    machine.Case(driver, "reads", wrong.size() == 0, wrong);
  }
}

void ReadNothing(Machine& machine) {
  struct Place {
    uint64_t first, end;
  };
  uint64_t first = machine.console().window();
  uint64_t end = first + Machine::kDevices * kWindowBytes;
  uint64_t memory_end = machine.memory_bytes();
  const Place places[] = {{first - 16, first - 8},  {end, first + kPlaceBytes},
                          {0xc0000000, 0xc0000010}, {0xe0000000, 0xe0000010},
                          {0xfec01000, 0xfec01010}, {0xfee00000, 0xfee00010},
                          {0xfffffff0, 0xfffffff8}, {memory_end, memory_end + 16}};
  Text wrong;
  for (const Place& place : places)
    for (uint32_t width : kWidths)
      for (uint64_t at = place.first; at < place.end; at++) {
        uint64_t value = ReadWidth(at, width);
        if (wrong.size() == 0 && value != Ones(width))
          wrong << "width " << width << " at " << Hex{at} << ": " << Hex{value};
        if (at % 8 == 0) WriteWidth(at, width, value);
      }
  machine.Case("nothing", "reads-as-ones", wrong.size() == 0, wrong);
}

void ReadAcrossEdges(Machine& machine) {
  uint64_t first = machine.console().window();
  const uint64_t edges[] = {
      first,     first + kWindowBytes, first + kPlaceBytes, machine.memory_bytes(), 0xfec00000,
      0xfec01000};
  for (uint64_t edge : edges)
    for (uint32_t width : kWidths)
      for (uint64_t before = 1; before < width; before++) {
        ReadWidth(edge - before, width);
        // Memory is not ours to overwrite.
        if (edge != machine.memory_bytes()) WriteWidth(edge - before, width, ~uint64_t{0});
      }
  machine.Case("edges", "straddled", true);
}

void CaseAllServe(Machine& machine, const char* device, const char* what) {
  Text detail;
  for (uint32_t i = 0; i < Machine::kDevices; i++)
    if (!machine.Serves(machine.driver(i)))
      detail << "no more: " << machine.driver(i).name() << " ";
  machine.Case(device, what, detail.size() == 0, detail);
}

enum class State { kIdle, kRunning };

// Every offset of every window is written, the console's too.
void WriteAll(Machine& machine, const char* what, State state, uint64_t value) {
  machine.TakeConsole();
  for (uint32_t width : kWidths)
    for (uint32_t i = 0; i < Machine::kDevices; i++) {
      Driver& driver = machine.driver(i);
      if (state == State::kRunning)
        driver.Start();
      else
        driver.Reset();
      for (uint64_t offset = 0; offset < kWindowBytes; offset++)
        WriteWidth(driver.window() + offset, width, value);
    }
  machine.GiveConsoleBack();
  machine.StartAll();
  CaseAllServe(machine, state == State::kRunning ? "running" : "idle", what);
}

void AbuseIoApic(Machine& machine) {
  constexpr uint64_t kIoApic = 0xfec00000;
  for (uint32_t index = 0; index < 0x120; index++) {
    WriteAt(kIoApic, index);
    ReadAt<uint32_t>(kIoApic + 0x10);
    WriteAt(kIoApic + 0x10, uint32_t{0xffffffff});
  }
  for (uint32_t width : kWidths)
    for (uint64_t offset = 0; offset < 0x1000; offset += offset < 0x40 ? 1 : 37) {
      ReadWidth(kIoApic + offset, width);
      WriteWidth(kIoApic + offset, width, ~uint64_t{0});
    }
  StartInterruptsAndClock();
  CaseAllServe(machine, "io-apic", "written");
}

void AbusePorts(Machine& machine) {
  bool ones = true;
  for (uint32_t port = 0; port < 0x10000; port += port < 0x100 ? 1 : 997) {
    uint8_t byte;
    uint16_t word;
    uint32_t whole;
    auto number = static_cast<uint16_t>(port);
    asm volatile("inb %1, %0" : "=a"(byte) : "Nd"(number));
    asm volatile("inw %1, %0" : "=a"(word) : "Nd"(number));
    asm volatile("inl %1, %0" : "=a"(whole) : "Nd"(number));
    ones = ones && byte == 0xff && word == 0xffff && whole == 0xffffffff;
    asm volatile("outb %0, %1; outw %w0, %1; outl %k0, %1" ::"a"(byte), "Nd"(number));
  }
  machine.Case("ports", "read-as-ones", ones);
  // Many at once: KVM hands up to a page of them over.
  uint8_t* at = machine.scratch();
  memset(at, 0, 8192);
  uint64_t count = 8192;
  asm volatile("rep insb" : "+D"(at), "+c"(count) : "d"(0x80) : "memory");
  for (uint32_t i = 0; i < 8192; i++) ones = ones && machine.scratch()[i] == 0xff;
  const uint8_t* from = machine.scratch();
  count = 8192;
  asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0x80) : "memory");
  machine.Case("ports", "strings", ones);
}

}  // namespace

void AbuseRegisters(Machine& machine) {
  ReadAll(machine);
  ReadNothing(machine);
  ReadAcrossEdges(machine);
  AbuseIoApic(machine);
  AbusePorts(machine);
  WriteAll(machine, "ones", State::kIdle, ~uint64_t{0});
  WriteAll(machine, "zeros", State::kRunning, 0);
  WriteAll(machine, "ones", State::kRunning, ~uint64_t{0});
  WriteAll(machine, "two", State::kRunning, 2);
  WriteAll(machine, "bytes", State::kRunning, 0x0706050403020100);
}

}  // namespace msb::test_guest
