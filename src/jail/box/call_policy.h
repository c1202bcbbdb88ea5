// SPDX-License-Identifier: Apache-2.0
// The default policy of system calls as a user has changed it, and what it says of one call.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "jail/box/spec.h"
#include "jail/seccomp_compiler.h"

namespace msb::box {

// Allows or denies a call, always or when all checks hold. Of the rules of one call those with more
// checks are asked first, and of as many those that deny; the default policy last.
struct CallRule {
  bool allow = true;
  std::string call;  // As the kernel names it.
  std::array<jail::ArgCheck, jail::kMaxChecks> all_of{};
  bool whole = false;  // Of the command line, which speaks of the call as a whole.
  std::string origin;  // Where it was said: "--deny-syscall", "line 3".
};

// "unknown system call opne", with the name that was meant.
Result<void> CheckCallName(std::string_view name);

class CallPolicy {
 public:
  // kInvalidArgument: an unknown name; two rules that say the opposite of the same calls; or a rule
  // of the command line and another that disagree about a call.
  static Result<CallPolicy> Create(const std::vector<CallRule>& changes);

  // As a filter that refuses by itself, or that asks (OnRefusal). A filter that asks still answers
  // the ENOSYS of clone3, which every C library takes and then uses clone. kInvalidArgument: more
  // than a filter holds, or a call denied that the start needs while it asks.
  Result<jail::FilterBuffer> Compile(OnRefusal on_refusal) const;

  struct Decision {
    int error = 0;         // 0: allowed.
    bool by_rule = false;  // Of a CallRule; else of the default policy.
  };
  Decision Decide(uint32_t number, const std::array<uint64_t, 6>& arguments) const;

 private:
  struct Placed {
    jail::NumberedRule rule;
    bool by_rule;
  };
  std::vector<Placed> rules_;  // Those of one call in the order in which they are asked.
};

}  // namespace msb::box
