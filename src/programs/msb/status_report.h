// SPDX-License-Identifier: Apache-2.0
// The JSON that --status-fd gets: exactly how a program ended.

#pragma once

#include <string>

#include "programs/msb/options.h"
#include "programs/msb/session.h"

namespace msb::cli {

// {"id","isolation","outcome":{"kind","code","detail"},"exit_code","signal","error","timings_ns":
//  {...},"usage":{...},"startup":...}; what is not known is null.
std::string StatusJson(const SessionEnd& end, Clock::time_point began);

// Writes it and a newline; closes nothing. No status_fd: nothing.
void ReportStatus(const ProgramOptions& options, const SessionEnd& end, Clock::time_point began);
// The same for an error before there was a session.
void ReportError(const ProgramOptions& options, const Error& error);

// A status_fd that is not open is told before anything is started.
Result<void> CheckStatusFd(const ProgramOptions& options);

}  // namespace msb::cli
