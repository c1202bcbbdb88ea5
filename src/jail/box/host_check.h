// SPDX-License-Identifier: Apache-2.0
// What sandboxes need of this host, found by trying: sandboxes are started and end at their exec,
// namespaces are made in children, and nothing is left. Errors and remedies are those of a run.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jail/box/spec.h"

namespace msb::box {

struct HostCheck {
  enum class State : uint8_t {
    kOk,
    kLess,    // The default sandbox starts; something beside it does not work.
    kFailed,  // It does not start, or not with everything.
  };
  std::string name;
  State state = State::kOk;
  std::string tried;   // What was done.
  std::string result;  // What came back.
  std::string cost;    // What it costs; empty: nothing.
  std::string fix;     // What to do; empty: nothing.
};
std::string_view StateName(HostCheck::State state);  // "ok", "less", "failed"

// Everything but limits. The caller has one thread.
std::vector<HostCheck> CheckHost();

// The label of a security module that confines process `pid` (AppArmor's, SELinux's), as
// /proc/PID/attr/current has it; empty when there is none.
std::string SecurityLabel(int pid);

}  // namespace msb::box
