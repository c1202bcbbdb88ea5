// SPDX-License-Identifier: Apache-2.0
// A function run in a child process: for trying what may hang, crash or change the caller.

#pragma once

#include <functional>

#include "base/result.h"
#include "sys/process.h"

namespace msb::sys {

// fork()s; the child runs `body` and exits with its value. The caller has one thread. The child
// dies with the caller.
Result<Child> ForkChild(const std::function<int()>& body);

}  // namespace msb::sys
