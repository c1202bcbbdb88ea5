// SPDX-License-Identifier: Apache-2.0
// Every process of the sandbox is a descendant of ours: no child is nobody.

#include "agent/orderly_end.h"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

namespace msb::agent {

void OrderlyEnd::Begin() {
  begun_ = true;
  ::kill(-1, SIGTERM);
  ::kill(-1, SIGCONT);  // Who is stopped takes no signal but this.
  EndWhenAlone();
}

void OrderlyEnd::EndWhenAlone() {
  siginfo_t info{};
  if (begun_ && ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD)
    end_();
}

}  // namespace msb::agent
