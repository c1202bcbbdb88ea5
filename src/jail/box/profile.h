// SPDX-License-Identifier: Apache-2.0
// A profile: what a workload needs of system calls beside the default policy, as text.
//
//   # Comments go to the end of the line.
//   allow personality persona=ADDR_NO_RANDOMIZE
//   allow socket family=AF_NETLINK protocol=NETLINK_AUDIT
//   deny mlock
//
// A rule is about a call, or about those of its calls whose named arguments (call_arguments.h) have
// the values said: a name, a decimal or a 0x-hexadecimal number, flags joined by |.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jail/box/call_policy.h"
#include "jail/box/refusals.h"

namespace msb::box {

inline constexpr size_t kMaxProfileBytes = 64 << 10;
inline constexpr size_t kMaxProfileRules = 512;

// kInvalidArgument with the line and a remedy. Rules that contradict each other are
// CallPolicy::Create()'s to find.
Result<std::vector<CallRule>> ParseProfile(std::string_view text);

// "allow socket family=AF_ALG"
std::string FormatRule(const CallRule& rule);

// Why a call of this kind is refused while a run learns, too; empty: it is carried out. Refused is
// what the other walls do not hold, since in such a run seccomp is none.
std::string_view WhyNotLearnt(const CallKind& kind);

// What a run learnt, as a profile: `base` and the kinds that were carried out; the others as
// comments. `command`: what ran.
std::string LearntProfile(std::string_view command, std::span<const CallRule> base,
                          const RefusalTable& seen);

}  // namespace msb::box
