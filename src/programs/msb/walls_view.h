// SPDX-License-Identifier: Apache-2.0
// What holds a sandbox, for people: the tables of `msb inspect --walls`.

#pragma once

#include <string>

#include "sandbox/in_force.h"

namespace msb::cli {

std::string WallsText(const sandbox::RecordInfo& record, const sandbox::InForce& in_force);
// Of one that does not run, or that cannot be looked at (`why`; empty: it has ended): what its
// start has set up, as it was recorded then, and no word on the present.
std::string RecordedWallsText(const sandbox::RecordInfo& record, std::string_view why);

}  // namespace msb::cli
