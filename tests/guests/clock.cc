// SPDX-License-Identifier: Apache-2.0
// Local APIC in x2APIC mode, as the machine starts its first processor (Intel SDM volume 3, 11.12),
// I/O APIC (82093AA), kvm-clock (Linux, Documentation/virt/kvm/x86/msr.rst).

#include "clock.h"

#include "cpu.h"

extern "C" {
extern const unsigned char second_start[], second_end[];
void SecondMain();
}

namespace msb::test_guest {
namespace {

constexpr uint32_t kApicEndOfInterrupt = 0x80b, kApicSpurious = 0x80f, kApicCommand = 0x830,
                   kApicTimer = 0x832;
constexpr uint32_t kTscDeadline = 0x6e0;
constexpr uint32_t kApicEnabled = 1 << 8, kTimerByDeadline = 2 << 17;
constexpr uint32_t kInit = 0x4500, kStartUp = 0x4600;
constexpr uint32_t kSystemTime = 0x4b564d01;

constexpr uint64_t kIoApic = 0xfec00000;
constexpr uint32_t kFirstVector = 0x30, kTimerVector = 0x40, kSpuriousVector = 0xff;
constexpr uint32_t kLines = 8;
constexpr uint64_t kSecondStart = 0x8000;
constexpr uint16_t kCodeSelector = 8;

struct Frame;  // What an interrupt pushes; nobody looks.

struct Gate {
  uint16_t low;
  uint16_t selector;
  uint16_t type;
  uint16_t middle;
  uint32_t high;
  uint32_t zero;
};

struct SystemTime {
  uint32_t version;
  uint32_t pad;
  uint64_t tsc;
  uint64_t nanoseconds;
  uint32_t multiplier;
  int8_t shift;
  uint8_t flags;
  uint8_t pads[2];
};

struct State {
  alignas(4096) Gate gates[256];
  alignas(64) volatile SystemTime time;
  volatile uint32_t interrupts[kLines];
  uint64_t tick;  // A millisecond of the TSC.
  void (*second_work)();
  volatile bool second_runs;
};
constinit State state{};

[[gnu::no_caller_saved_registers]] void EndOfInterrupt() {
  asm volatile("wrmsr" ::"c"(kApicEndOfInterrupt), "a"(0), "d"(0) : "memory");
}

[[gnu::no_caller_saved_registers]] void NextTick() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  uint64_t at = (uint64_t{high} << 32 | low) + state.tick;
  asm volatile("wrmsr" ::"c"(kTscDeadline), "a"(static_cast<uint32_t>(at)),
               "d"(static_cast<uint32_t>(at >> 32))
               : "memory");
}

template <uint32_t kLine>
[[gnu::interrupt]] void OnLine(Frame*) {
  state.interrupts[kLine] = state.interrupts[kLine] + 1;
  EndOfInterrupt();
}
// Keeps ticking: QEMU's emulation of AMD's processors forgets, when the host interrupts it there,
// that nothing comes between STI and HLT. The tick that a Doze() waits for may so come before its
// HLT.
[[gnu::interrupt]] void OnTimer(Frame*) {
  EndOfInterrupt();
  NextTick();
}
[[gnu::interrupt]] void OnSpurious(Frame*) {}

void SetGate(uint32_t vector, void (*handler)(Frame*)) {
  constexpr uint16_t kInterruptGate = 0x8e00;
  // SAFETY: only the address is taken apart.
  auto address = reinterpret_cast<uint64_t>(handler);
  state.gates[vector] = {static_cast<uint16_t>(address),
                         kCodeSelector,
                         kInterruptGate,
                         static_cast<uint16_t>(address >> 16),
                         0,
                         0};
}

void WriteIoApic(uint32_t index, uint32_t value) {
  // SAFETY: the I/O APIC's page, which the first tables map.
  auto* registers = reinterpret_cast<volatile uint32_t*>(kIoApic);
  registers[0] = index;
  registers[4] = value;
}

// 64 bits times 32 are more than 64.
__extension__ using Wide = unsigned __int128;

uint64_t Scale(uint64_t ticks, uint32_t multiplier, int shift) {
  ticks = shift < 0 ? ticks >> -shift : ticks << shift;
  return static_cast<uint64_t>(static_cast<Wide>(ticks) * multiplier >> 32);
}

// Ticks of the TSC in a millisecond.
uint64_t TicksOfMillisecond() {
  uint64_t ticks = (kMilliseconds << 32) / state.time.multiplier;
  int shift = state.time.shift;
  return shift < 0 ? ticks << -shift : ticks >> shift;
}

template <uint32_t kLine>
void SetLineGates() {
  SetGate(kFirstVector + kLine, OnLine<kLine>);
  if constexpr (kLine + 1 < kLines) SetLineGates<kLine + 1>();
}

}  // namespace

void StartInterruptsAndClock() {
  SetLineGates<0>();
  SetGate(kTimerVector, OnTimer);
  SetGate(kSpuriousVector, OnSpurious);
  struct [[gnu::packed]] {
    uint16_t limit;
    const void* base;
  } table = {sizeof state.gates - 1, state.gates};
  asm volatile("lidt %0" ::"m"(table));

  WriteMsr(kApicSpurious, kApicEnabled | kSpuriousVector);
  WriteMsr(kApicTimer, kTimerByDeadline | kTimerVector);
  for (uint32_t line = 0; line < kLines; line++) {
    constexpr uint32_t kFirstEntry = 0x10;
    WriteIoApic(kFirstEntry + 2 * line + 1, 0);  // To the local APIC 0.
    WriteIoApic(kFirstEntry + 2 * line, kFirstVector + line);
  }
  // SAFETY: the structure is aligned and lives forever; bit 0 turns the clock on.
  WriteMsr(kSystemTime, reinterpret_cast<uint64_t>(&state.time) | 1);
  state.tick = TicksOfMillisecond();
  NextTick();
}

uint64_t Now() {
  for (;;) {
    uint32_t version = state.time.version;
    Barrier();
    uint64_t now = state.time.nanoseconds +
                   Scale(ReadTsc() - state.time.tsc, state.time.multiplier, state.time.shift);
    Barrier();
    // Odd while the host writes.
    if (version % 2 == 0 && version == state.time.version) return now;
  }
}

uint32_t InterruptsOf(uint32_t line) { return line < kLines ? state.interrupts[line] : 0; }

void Doze() { asm volatile("sti; hlt; cli" ::: "memory"); }

bool StartSecondProcessor(void (*work)()) {
  state.second_work = work;
  state.second_runs = false;
  // SAFETY: memory below 1 MiB that nothing else uses, mapped where it is.
  memcpy(reinterpret_cast<void*>(kSecondStart), second_start,
         static_cast<size_t>(second_end - second_start));
  constexpr uint64_t kToSecond = uint64_t{1} << 32;
  WriteMsr(kApicCommand, kToSecond | kInit);
  WaitFor([] { return false; }, 10 * kMilliseconds);
  WriteMsr(kApicCommand, kToSecond | kStartUp | kSecondStart >> 12);
  return WaitFor([] { return state.second_runs; });
}

}  // namespace msb::test_guest

void SecondMain() {
  using msb::test_guest::state;
  state.second_runs = true;
  state.second_work();
}
