// SPDX-License-Identifier: Apache-2.0
// Time and interrupts: waiting that leaves the processor to others, which a lab of one CPU needs.

#pragma once

#include <cstdint>

namespace msb::test_guest {

inline constexpr uint64_t kMilliseconds = 1'000'000;
// Longer than anything that works takes, even in a lab that is slow: the host's one CPU may have
// other things to do.
inline constexpr uint64_t kPatience = 30'000 * kMilliseconds;

// First processor: its interrupt table, its local APIC, every line of the I/O APIC, kvm-clock.
void StartInterruptsAndClock();
// Nanoseconds since the machine began. First processor only.
uint64_t Now();
// Interrupts of a line of the I/O APIC so far.
uint32_t InterruptsOf(uint32_t line);
// Halts until an interrupt comes, for some milliseconds at most.
void Doze();

// False when `condition` did not come true in time.
template <class Condition>
bool WaitFor(Condition condition, uint64_t nanoseconds = kPatience) {
  uint64_t end = Now() + nanoseconds;
  while (!condition()) {
    if (Now() >= end) return condition();
    Doze();
  }
  return true;
}

// Starts the second processor, which runs `work` until it returns and then halts. False when it
// did not come up: there is none.
bool StartSecondProcessor(void (*work)());

}  // namespace msb::test_guest
