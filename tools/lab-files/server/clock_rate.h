// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace lab {

// Prints the rate of the time stamp counter in kHz: the best of some short measurements, since one
// that is preempted is wrong. Returns an exit code.
int PrintClockRate();

}  // namespace lab
