// SPDX-License-Identifier: Apache-2.0
// The cgroup of one run: made before the start, removed after the end.

#pragma once

#include <optional>

#include "base/result.h"
#include "programs/microbox/options.h"
#include "sys/cgroup.h"

namespace msb::microbox {

struct Limits {
  std::optional<sys::Cgroup> cgroup;
};

// Where no cgroup can be had, one line on stderr says which limits are not enforced, or the error
// does (--require-limits). First takes away what killed runs left.
Result<Limits> SetLimits(const Options& options);

}  // namespace msb::microbox
