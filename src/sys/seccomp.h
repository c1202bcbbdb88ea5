// SPDX-License-Identifier: Apache-2.0
// Installing seccomp filters.

#pragma once

#include <linux/filter.h>

#include <span>

#include "base/result.h"

namespace msb::sys {

// For all threads of the process (TSYNC); no_new_privs must be set. A filter once in stays.
Result<void> InstallSeccompFilter(std::span<const sock_filter> program);
// For the calling thread, between clone and exec: 0, or -1 with errno.
int RawInstallSeccompFilter(const sock_filter* program, unsigned short length);

// prctl(PR_SET_NO_NEW_PRIVS): exec never again gains anything.
Result<void> SetNoNewPrivileges();

}  // namespace msb::sys
