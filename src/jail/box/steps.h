// SPDX-License-Identifier: Apache-2.0
// The sandbox's steps in words: what the error says and what the user can do.

#pragma once

#include <string_view>

#include "base/result.h"
#include "jail/box/plan.h"
#include "jail/box/spec.h"

namespace msb::box {

std::string_view StepName(Step step);
std::string_view StepRemedy(Step step, int err);
// kNotFound or kPermissionDenied for what shells tell apart as 127 and 126.
Error ExecError(const Spec& spec, int err);

}  // namespace msb::box
