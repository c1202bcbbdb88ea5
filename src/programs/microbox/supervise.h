// SPDX-License-Identifier: Apache-2.0
// From the start of the command to microbox's own exit code.

#pragma once

#include "jail/box/box.h"
#include "programs/microbox/limits.h"
#include "programs/microbox/options.h"

namespace msb::microbox {

// Signals are caught from here on; before Start(), so that none is lost.
class Signals {
 public:
  static Result<Signals> Catch();
  const UniqueFd& fd() const { return fd_; }

 private:
  explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Passes signals on, ends the sandbox at its time-out, takes its cgroup away, says what the command
// did not say itself (time-out, out of memory). Returns the exit code.
int Supervise(const Options& options, const Signals& signals, box::Running& running,
              Limits& limits);

}  // namespace msb::microbox
