// SPDX-License-Identifier: Apache-2.0
// The agent as the first process of a machine: brings up the root, says hello, serves until told to
// end, powers off. A failure is one line on the console and the goodbye's reason.

#pragma once

#include <string>

namespace msb::agent {

// The first process only; does not return.
[[noreturn]] void RunGuest();

}  // namespace msb::agent
