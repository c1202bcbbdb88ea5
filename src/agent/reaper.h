// SPDX-License-Identifier: Apache-2.0
// Reaps every child that ends: the main processes of execs, and whatever was orphaned to us as the
// first process. One signalfd for all, no descriptor a process.

#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"

namespace msb::agent {

class Reaper {
 public:
  using OnExit = std::function<void(pid_t pid, int wait_status, const struct rusage& usage)>;

  // Blocks SIGCHLD. `after` is called after each round of reaping.
  static Result<std::unique_ptr<Reaper>> Create(event::Loop& loop, OnExit on_exit,
                                                std::function<void()> after);

 private:
  Reaper(event::Loop& loop, UniqueFd signals, OnExit on_exit, std::function<void()> after)
      : loop_(loop),
        signals_(std::move(signals)),
        on_exit_(std::move(on_exit)),
        after_(std::move(after)) {}
  void Reap();

  event::Loop& loop_;
  UniqueFd signals_;
  OnExit on_exit_;
  std::function<void()> after_;
  event::Loop::Registration watch_;
  event::Loop::Timer again_;
};

}  // namespace msb::agent
