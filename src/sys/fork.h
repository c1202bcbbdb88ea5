// SPDX-License-Identifier: Apache-2.0
// A function run in a child process: for trying what may hang, crash or change the caller.

#pragma once

#include <functional>
#include <span>

#include "base/result.h"
#include "sys/process.h"

namespace msb::sys {

// fork()s; the child runs `body` and exits with its value. The caller has one thread. The child
// dies with the caller.
Result<Child> ForkChild(const std::function<int()>& body);

// In a process of our own making that needs nothing else of what we had open.
void CloseAllBut(std::span<const int> keep);

// fork()s a process that runs `body` and lives on without us, in a session of its own, with
// /dev/null in the place of 0, 1 and 2 and no other descriptor than `keep`: whoever waits for the
// end of our output need not wait for it. The caller has one thread.
Result<void> ForkBehind(std::span<const int> keep, const std::function<void()>& body);

}  // namespace msb::sys
