// SPDX-License-Identifier: Apache-2.0
// The start of a detached sandbox: waits until it runs, says its name, leaves.

#pragma once

#include "base/fd.h"
#include "programs/msb/options.h"

namespace msb::cli {

// Returns the exit code.
int FinishDetached(const ExeOptions& options, UniqueFd socket);

}  // namespace msb::cli
