// SPDX-License-Identifier: Apache-2.0
// MachineProcess: the jailed program that is a machine (QEMU, msb-vmm), as its backend sees it:
// what it writes to stderr, that it has ended and how. What it says is hostile: bounded and
// escaped.

#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "event/loop.h"
#include "jail/jail.h"
#include "sandbox/backend.h"

namespace msb::sandbox {

class MachineProcess {
 public:
  // `name` is for people: "QEMU".
  MachineProcess(std::string name, jail::JailedProcess process)
      : name_(std::move(name)), process_(std::move(process)) {}

  // `on_end` is called once, when nothing in the jail runs any more.
  Result<void> Watch(event::Loop& loop, std::function<void(const MachineEnd&)> on_end);
  void Kill() { jail::KillJailed(process_); }
  MachineFacts Facts() const;

 private:
  void DrainStderr();
  void OnEnded();
  MachineEnd Describe(const Result<jail::JailExit>& exit) const;

  std::string name_;
  jail::JailedProcess process_;
  std::function<void(const MachineEnd&)> on_end_;
  event::Loop::Registration exit_watch_;
  event::Loop::Registration stderr_watch_;
  std::string stderr_tail_;
};

}  // namespace msb::sandbox
