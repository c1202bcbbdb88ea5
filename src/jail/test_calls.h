// SPDX-License-Identifier: Apache-2.0
// For tests of policies: a child under a filter, and the calls that none of our programs may make.

#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "jail/policies.h"
#include "sys/fork.h"
#include "sys/seccomp.h"

namespace msb::jail {

// How a child ends that takes on `filter`, runs `body` and exits with what that gives.
inline sys::ExitStatus Under(const Filter& filter, const std::function<int()>& body) {
  auto child = sys::ForkChild([&] {
    if (!sys::SetNoNewPrivileges().ok()) return 90;
    if (sys::RawInstallSeccompFilter(filter.code.data(), filter.length) != 0) return 91;
    ::syscall(SYS_exit_group, body());
    return 92;
  });
  EXPECT_TRUE(child.ok());
  auto status = child->Wait(Deadline::After(std::chrono::seconds(10)));
  EXPECT_TRUE(status.ok());
  return *status;
}

inline constexpr sys::ExitStatus kKilled{true, SIGSYS};
inline constexpr sys::ExitStatus kFine{false, 0};

using Arguments = std::array<uint64_t, 6>;

// How it ends after one call; kFine when the filter lets that be, whatever the kernel says of it.
inline sys::ExitStatus Calling(const Filter& filter, int number, const Arguments& a = {}) {
  return Under(filter, [&] {
    ::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return 0;
  });
}
inline sys::ExitStatus Calling(const Policy& policy, const char* name) {
  int number = SyscallNumber(name);
  EXPECT_GE(number, 0) << name;
  return Calling(*policy.filter, number);
}

// Whatever a program of ours was made for, it is not this: new programs and processes, the
// network's addresses, other processes, mounts and namespaces, ids, the kernel itself.
inline constexpr const char* kOnlyAnAttackerWants[] = {"execve",
                                                       "execveat",
                                                       "fork",
                                                       "vfork",
                                                       "socket",
                                                       "connect",
                                                       "bind",
                                                       "listen",
                                                       "mount",
                                                       "umount2",
                                                       "fsopen",
                                                       "open_tree",
                                                       "move_mount",
                                                       "unshare",
                                                       "setns",
                                                       "chroot",
                                                       "pivot_root",
                                                       "bpf",
                                                       "keyctl",
                                                       "userfaultfd",
                                                       "io_uring_setup",
                                                       "io_uring_enter",
                                                       "perf_event_open",
                                                       "process_vm_writev",
                                                       "pidfd_open",
                                                       "pidfd_getfd",
                                                       "setuid",
                                                       "setresuid",
                                                       "setgroups",
                                                       "capset",
                                                       "init_module",
                                                       "kexec_load",
                                                       "reboot",
                                                       "swapon",
                                                       "add_key",
                                                       "open_by_handle_at",
                                                       "memfd_secret",
                                                       "landlock_restrict_self",
                                                       "name_to_handle_at",
                                                       "vmsplice",
                                                       "quotactl",
                                                       "syslog",
                                                       "settimeofday",
                                                       "sethostname",
                                                       "iopl",
                                                       "modify_ldt",
                                                       "map_shadow_stack",
                                                       "pkey_mprotect",
                                                       "statmount",
                                                       "listmount",
                                                       "open_tree_attr",
                                                       "file_setattr"};

}  // namespace msb::jail
