// SPDX-License-Identifier: Apache-2.0
// Counter readings to nanoseconds.

#include "agent/boot_clock.h"

#include <time.h>

namespace msb::agent {
namespace {

uint64_t Counter() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t value;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#endif
}

uint64_t BootTime() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

BootClock::Reading BootClock::Now() {
  uint64_t counter = Counter();
  return {counter, BootTime()};
}

BootClock::BootClock() : first_(Now()) { marks_.push_back({"init", first_.counter}); }

void BootClock::Mark(const char* stage) { marks_.push_back({stage, Counter()}); }

std::vector<protocol::BootStage> BootClock::Stages() const {
  Reading now = Now();
  uint64_t ticks = now.counter - first_.counter;
  uint64_t elapsed = now.boottime_ns - first_.boottime_ns;
  // A double holds the nanoseconds of 100 days exactly.
  double rate = ticks == 0 ? 0 : static_cast<double>(elapsed) / static_cast<double>(ticks);
  auto at = [&](uint64_t counter) {
    return static_cast<uint64_t>(static_cast<double>(counter) * rate);
  };
  uint64_t now_ns = at(now.counter);
  uint64_t kernel = now_ns > now.boottime_ns ? now_ns - now.boottime_ns : 0;
  std::vector<protocol::BootStage> stages = {{"kernel", kernel}};
  for (const auto& mark : marks_) stages.push_back({mark.name, at(mark.counter)});
  return stages;
}

}  // namespace msb::agent
