// SPDX-License-Identifier: Apache-2.0
// Ends a session towards the caller.

#include "programs/msb/finish.h"

#include <signal.h>

#include "programs/msb/status_report.h"
#include "programs/msb/ui.h"

namespace msb::cli {

namespace {

// So that a shell's loop sees a Ctrl-C, and `msb ... | head` ends as every filter does.
void DieOf(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  ::raise(signal);
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

int Finish(const ProgramOptions& options, const SessionEnd& end, Clock::time_point began) {
  ReportStatus(options, end, began);
  int code = ExitCode(end);
  if (auto explained = Explain(end))
    (void)Fail(*explained, options.json ? Format::kJson : Format::kText, code);
  if (end.interrupted_by != 0) DieOf(end.interrupted_by);
  return code;
}

}  // namespace msb::cli
