// SPDX-License-Identifier: Apache-2.0
// The cgroup of one run: made before the start, removed after the end.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "programs/microbox/options.h"
#include "sys/cgroup.h"

namespace msb::microbox {

struct Limits {
  std::optional<sys::Cgroup> cgroup;
  std::string missing;  // Which of those asked for cannot be enforced, and why; empty: none.
};

inline constexpr std::string_view kLimitsRemedy =
    "run it as root where the cgroup file systems are mounted (--io-bps: of version 2)";

// Where this host has cgroups, for the limits that are asked for; no hierarchy: none is. An error
// is for those below to tell.
using LimitsPlace = Result<sys::CgroupHost>;
LimitsPlace FindLimitsPlace(const Options& options);
// Whether a process enters such a cgroup by itself, so that it can be made after the process.
bool IsEnteredLater(const LimitsPlace& place);

// What this host enforces. First takes away what killed runs left.
Limits TryLimits(const Options& options, LimitsPlace place);

// The same for a run: one line on stderr says which limits are not enforced, or the error does
// (--require-limits).
Result<Limits> SetLimits(const Options& options, LimitsPlace place);

}  // namespace msb::microbox
