// SPDX-License-Identifier: Apache-2.0
// --rlimit NAME=SOFT[:HARD], as prlimit(1) has them.

#pragma once

#include <string_view>

#include "base/result.h"
#include "jail/box/spec.h"

namespace msb::microbox {

// Names are those of setrlimit(2), lower case, without RLIMIT_; values are numbers of the limit's
// own unit, or "unlimited". The hard limit is the soft one unless it is given.
Result<box::ResourceLimit> ParseResourceLimit(std::string_view text);

}  // namespace msb::microbox
