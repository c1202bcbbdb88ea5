// SPDX-License-Identifier: Apache-2.0
// The last words of exe, exec and shell: the sentence on stderr, the status, the exit code.

#pragma once

#include "programs/msb/options.h"
#include "programs/msb/session.h"

namespace msb::cli {

// Returns the exit code; does not return when we are to die as a signal's victim.
int Finish(const ProgramOptions& options, const SessionEnd& end, Clock::time_point began);

}  // namespace msb::cli
