// SPDX-License-Identifier: Apache-2.0
// Installing seccomp filters, and answering calls that a filter asks about (seccomp_unotify(2)).

#pragma once

#include <linux/filter.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

// For all threads of the process (TSYNC); no_new_privs must be set. A filter once in stays.
Result<void> InstallSeccompFilter(std::span<const sock_filter> program);
// For the calling thread, between clone and exec: 0, or -1 with errno.
int RawInstallSeccompFilter(const sock_filter* program, unsigned short length);
// The same; calls for which the filter answers SECCOMP_RET_USER_NOTIF wait until whoever holds the
// returned descriptor (close-on-exec) has answered; ENOSYS once nobody holds it. -1 with errno.
int RawInstallSeccompListener(const sock_filter* program, unsigned short length);

// A call that waits for its answer.
struct AskedCall {
  uint64_t id;
  int pid;  // Of the thread, as we see it.
  uint32_t number;
  std::array<uint64_t, 6> arguments;
};
// Waits for the next one; poll() says POLLIN when there is one, POLLHUP when nobody is left who
// could ask. nullopt: who asked is gone.
Result<std::optional<AskedCall>> ReceiveAskedCall(BorrowedFd listener);
// The call fails with `err`, a positive errno. Who asked may be gone, which is no error.
Result<void> RefuseAskedCall(BorrowedFd listener, uint64_t id, int err);
// The kernel carries the call out.
Result<void> ContinueAskedCall(BorrowedFd listener, uint64_t id);
// Whether it still waits: what was read of /proc/PID meanwhile was of no other process.
bool AskedCallWaits(BorrowedFd listener, uint64_t id);

// prctl(PR_SET_NO_NEW_PRIVS): exec never again gains anything.
Result<void> SetNoNewPrivileges();

}  // namespace msb::sys
