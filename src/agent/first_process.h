// SPDX-License-Identifier: Apache-2.0
// What the agent needs as a first process, of a guest or of a process sandbox.

#pragma once

namespace msb::agent {

// Signals blocked (they are read from a descriptor), limits of files and processes as high as they
// go, no core files: what every child inherits, and what a process outside a machine may have been
// given.
void PrepareFirstProcess();

}  // namespace msb::agent
