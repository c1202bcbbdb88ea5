// SPDX-License-Identifier: Apache-2.0
// What system calls and capabilities a process sandbox has by default. How users change the calls:
// call_policy.h.

#pragma once

#include <sched.h>

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "jail/policies.h"
#include "jail/seccomp_compiler.h"

namespace msb::box {

inline constexpr uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID |
                                            CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                                            CLONE_NEWCGROUP | CLONE_NEWTIME;

// Allowed calls, some by their arguments. What our table knows and the policy does not allow
// answers EPERM; what it does not know ENOSYS, as on an older kernel; clone3, whose flags no filter
// can see, ENOSYS too, and the C library then uses clone. Calls of a foreign ABI kill.
extern const jail::Filter kDefaultFilter;
jail::Policy DefaultPolicy();

// "CAP_NET_ADMIN", "net_admin": the capability's number; "ALL" is not one. kInvalidArgument.
Result<int> CapabilityNumber(std::string_view name);
std::string_view CapabilityName(int number);  // "CAP_CHOWN"; empty beyond those we know.
inline constexpr int kCapabilities = 41;      // Linux 5.9: CAP_CHECKPOINT_RESTORE is 40.

}  // namespace msb::box
