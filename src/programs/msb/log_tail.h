// SPDX-License-Identifier: Apache-2.0
// The last lines of a file, found from its end.

#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/result.h"

namespace msb::cli {

// Moves the file's position to the start of its last `lines` lines. A last line without a newline
// is a line.
Result<void> SeekToTail(BorrowedFd file, uint64_t lines);

}  // namespace msb::cli
