// SPDX-License-Identifier: Apache-2.0
// Two pairs of (counter, clock), each the tightest of several tries: right within some parts per
// million after five milliseconds. The guest's kernel would take longer, and can be far off.

#include "sandbox/tsc.h"

#include <time.h>

#include <optional>
#include <string>

#include "base/text.h"
#include "sys/file.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace msb::sandbox {

#if defined(__x86_64__)
namespace {

struct Pair {
  uint64_t tsc = 0;
  int64_t nanoseconds = 0;
};

int64_t RawClock() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Pair TightestPair() {
  constexpr int kTries = 30;
  Pair best;
  uint64_t best_width = UINT64_MAX;
  for (int i = 0; i < kTries; i++) {
    uint64_t before = __rdtsc();
    int64_t clock = RawClock();
    uint64_t after = __rdtsc();
    if (after - before >= best_width) continue;
    best_width = after - before;
    best = {before + (after - before) / 2, clock};
  }
  return best;
}

uint64_t Measure() {
  constexpr int64_t kSpan = 5'000'000;
  Pair first = TightestPair();
  while (RawClock() - first.nanoseconds < kSpan) {
  }
  Pair second = TightestPair();
  uint64_t ticks = second.tsc - first.tsc;
  auto span = static_cast<uint64_t>(second.nanoseconds - first.nanoseconds);
  return ticks * 1'000'000 / span;
}

}  // namespace

uint64_t HostTscKhz(BorrowedFd cache) {
  auto boot = sys::ReadFileAt(sys::Cwd(), "/proc/sys/kernel/random/boot_id", 64);
  std::string name = "tsc-khz";
  std::string boot_id = boot ? boot->substr(0, boot->find('\n')) : "";
  auto kept = sys::FindFileAt(cache, name, 256);
  if (kept && *kept && !boot_id.empty()) {
    auto fields = Split(**kept, ' ');
    if (fields.size() == 2 && fields[0] == boot_id)
      if (auto khz = ParseNumber<uint64_t>(fields[1]); khz && *khz != 0) return *khz;
  }
  uint64_t khz = Measure();
  // Not kept: measured again next time.
  (void)sys::RememberFileAt(cache, name, Cat(boot_id, " ", khz));
  return khz;
}
#else
uint64_t HostTscKhz(BorrowedFd) { return 0; }
#endif

}  // namespace msb::sandbox
