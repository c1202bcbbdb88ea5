// SPDX-License-Identifier: Apache-2.0
// The orderly end of everything that the agent is the first process of.

#pragma once

#include <functional>
#include <utility>

namespace msb::agent {

class OrderlyEnd {
 public:
  // `end` is called once nothing runs any more beside us, and need not return.
  explicit OrderlyEnd(std::function<void()> end) : end_(std::move(end)) {}

  // Asks every process to end. The host has the clock, and kills the sandbox when it is over.
  void Begin();
  // To be called when processes have been reaped.
  void EndWhenAlone();

 private:
  std::function<void()> end_;
  bool begun_ = false;
};

}  // namespace msb::agent
