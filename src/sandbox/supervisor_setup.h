// SPDX-License-Identifier: Apache-2.0
// From the hand-over to a running, confined supervisor: everything that needs rights happens here,
// before the first byte of the guest is read.

#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/backend.h"
#include "sandbox/handover.h"

namespace msb::sandbox {

struct SupervisorInput {
  Handover handover;
  UniqueFd control;
  UniqueFd home;
  UniqueFd root;       // The root disk, or the directory of a root tree.
  UniqueFd root_lock;  // Of such a tree; may be invalid.
};

// The whole life of a supervisor. An error of the set-up has been told to the client already.
Result<void> RunSupervisor(SupervisorInput input);

}  // namespace msb::sandbox
