// SPDX-License-Identifier: Apache-2.0
// Marks on one clock.

#include "sandbox/start_clock.h"

#include <time.h>

#include <algorithm>

#include "base/text.h"

namespace msb::sandbox {

int64_t MonotonicNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void StartClock::Mark(std::string_view step) {
  for (const StartStep& known : steps_)
    if (known.step == step) return;
  steps_.push_back({std::string(step), Now()});
}

void StartClock::AddGuestStages(const std::vector<protocol::BootStage>& stages) {
  // Not a machine: nothing was reset.
  if (stages.empty()) return;
  int64_t now = Now();
  uint64_t last = 0;
  for (const auto& stage : stages) last = std::max(last, stage.nanoseconds);
  int64_t age = static_cast<int64_t>(std::min<uint64_t>(last / 1000, INT64_MAX / 2));
  int64_t reset = std::max<int64_t>(now - age, 0);
  steps_.push_back({"guest reset", reset});
  for (const auto& stage : stages) {
    auto at = static_cast<int64_t>(std::min<uint64_t>(stage.nanoseconds / 1000, INT64_MAX / 2));
    steps_.push_back({Escape(stage.name, 32), std::min(reset + at, now)});
  }
}

}  // namespace msb::sandbox
