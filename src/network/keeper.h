// SPDX-License-Identifier: Apache-2.0
// Processes of an ordinary user in the namespaces of a sandbox that the user's program has made.
//
//   us --fork--> helper, enters the sandbox's user namespace
//                  \--clone3--> keeper: our child, PID 1 of a PID namespace of its own
//                                 \--fork--> the program, in our network namespace
//
// The keeper dies with us (PDEATHSIG), and the kernel kills whatever is in its PID namespace: so
// does a program that goes into the background and changes its credentials, as pasta(1) does. An
// ordinary user can make that namespace only as the root of a user namespace, and the sandbox's is
// the one from which the program can reach the sandbox's network. No process of the sandbox sees
// the keeper: its PID namespace is another.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sys/process.h"

namespace msb::network {

// Calls `body` in a child that is root of both namespaces; its error is ours.
Result<void> RunInside(BorrowedFd network, BorrowedFd users,
                       const std::function<Result<void>()>& body);

// What stands in `argv` for the path of the sandbox's network namespace.
inline constexpr const char* kNetworkPath = "NETWORK";

// Starts a program that goes into the background when it is ready, and returns then; what it says
// on stderr when it fails is the error. The caller has one thread. The keeper's end is the
// program's.
Result<sys::Child> StartKept(BorrowedFd network, BorrowedFd users,
                             const std::vector<std::string>& argv);

}  // namespace msb::network
