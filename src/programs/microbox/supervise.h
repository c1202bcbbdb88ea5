// SPDX-License-Identifier: Apache-2.0
// Waits for the sandbox: passes signals on, ends it when its time or its output is over, and tells
// how it ended.

#pragma once

#include <chrono>

#include "jail/box/box.h"
#include "programs/microbox/calls.h"
#include "programs/microbox/limits.h"
#include "programs/microbox/network.h"
#include "programs/microbox/options.h"
#include "programs/microbox/relay.h"

namespace msb::microbox {

class Signals {
 public:
  static Result<Signals> Catch();
  const UniqueFd& fd() const { return fd_; }

 private:
  explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

struct Ending {
  enum class Kind : uint8_t { kExited, kSignaled, kTimeout, kOutOfMemory, kOutputLimit, kKilled };
  Kind kind = Kind::kKilled;
  int code = 0;    // Ours: the command's, 124, or 128 and a signal's number.
  int signal = 0;  // Of kSignaled and kOutOfMemory.
  sys::CgroupUsage usage;
  std::chrono::milliseconds duration{0};
};

// What goes on beside the sandbox while it runs.
struct Attendants {
  Limits& limits;
  Relay& relay;
  Network& network;
  Calls& calls;
};
// Returns when nothing of the sandbox is left: the cgroup is removed too.
Ending Supervise(const Options& options, const Signals& signals, box::Running& running,
                 const Attendants& with);

}  // namespace msb::microbox
