// SPDX-License-Identifier: Apache-2.0
// A user namespace with an ordinary user's subordinate ids in it, for work on files of such ids:
// from outside, their user can neither look into them nor remove them.

#pragma once

#include <cstdint>
#include <functional>

#include "base/fd.h"
#include "base/result.h"
#include "jail/subordinate_ids.h"

namespace msb::jail {

// Nothing runs in it. It is there as long as somebody has it open, for setns(2): its user becomes
// root of it. The caller has one thread.
Result<UniqueFd> MakeUserNamespace(const SubordinateIds& ids);

// Runs `work` in a child as root of that namespace, and waits for its end; what it answers comes
// back, an error with its code, words and remedy. The caller has one thread.
Result<uint64_t> RunInUserNamespace(BorrowedFd users,
                                    const std::function<Result<uint64_t>()>& work);

}  // namespace msb::jail
