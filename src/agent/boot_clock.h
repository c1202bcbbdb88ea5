// SPDX-License-Identifier: Apache-2.0
// When the guest reached which stage, on the clock that began with the machine itself.
//
// Linux's own clocks begin some milliseconds into the kernel. The processor's counter (TSC; CNTVCT
// on aarch64) begins at 0 with the machine, so marks are readings of it. Its rate is found without
// asking anyone: two readings of counter and CLOCK_BOOTTIME, at our start and when the stages are
// wanted. The stage "kernel" is where CLOCK_BOOTTIME was 0.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/messages.h"

namespace msb::agent {

class BootClock {
 public:
  // Marks "init".
  BootClock();
  void Mark(const char* stage);
  // "kernel", then the marks in their order.
  std::vector<protocol::BootStage> Stages() const;

 private:
  struct Reading {
    uint64_t counter;
    uint64_t boottime_ns;
  };
  struct Stage {
    const char* name;
    uint64_t counter;
  };
  static Reading Now();

  Reading first_;
  std::vector<Stage> marks_;
};

}  // namespace msb::agent
