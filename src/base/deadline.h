// SPDX-License-Identifier: Apache-2.0
// Deadline: until when a wait may last, handed down by value.

#pragma once

#include <chrono>
#include <optional>

namespace msb {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC.

class Deadline {
 public:
  static Deadline After(Clock::duration duration) { return Deadline(Clock::now() + duration); }
  static Deadline Never() { return Deadline(std::nullopt); }

  bool Passed() const { return at_ && Clock::now() >= *at_; }
  // As poll() takes it: milliseconds rounded up, 0 when passed, -1 for never.
  int PollTimeout() const {
    if (!at_) return -1;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(*at_ - Clock::now()).count();
    return left < 0 ? 0 : left > 1'000'000'000 ? 1'000'000'000 : static_cast<int>(left);
  }
  std::optional<Clock::time_point> at() const { return at_; }

 private:
  explicit Deadline(std::optional<Clock::time_point> at) : at_(at) {}
  std::optional<Clock::time_point> at_;
};

}  // namespace msb
