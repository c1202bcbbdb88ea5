// SPDX-License-Identifier: Apache-2.0
// The jail's steps in words: what the error says and what the user can do.

#pragma once

#include <cstdint>
#include <string_view>

#include "jail/jail_plan.h"

namespace msb::jail {

std::string_view StepName(JailStep step);
// The report's index is that of a bind.
bool StepNamesBind(JailStep step);
std::string_view StepRemedy(JailStep step, int err);

}  // namespace msb::jail
