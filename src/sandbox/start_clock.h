// SPDX-License-Identifier: Apache-2.0
// The start-up breakdown: when each step was reached, counted from the caller's Start().

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/messages.h"
#include "sandbox/record_state.h"

namespace msb::sandbox {

// CLOCK_MONOTONIC, which all processes of a host share.
int64_t MonotonicNs();

class StartClock {
 public:
  explicit StartClock(int64_t started_ns = MonotonicNs()) : started_ns_(started_ns) {}

  // Once a step; a repeated one is left out.
  void Mark(std::string_view step);
  // The guest's own stages, on its counter that began at its reset: placed on our time by the
  // moment its hello arrived. The guest may lie: bounded, escaped, never outside our own span.
  void AddGuestStages(const std::vector<protocol::BootStage>& stages);
  const std::vector<StartStep>& steps() const { return steps_; }

 private:
  int64_t Now() const { return (MonotonicNs() - started_ns_) / 1000; }
  int64_t started_ns_;
  std::vector<StartStep> steps_;
};

}  // namespace msb::sandbox
