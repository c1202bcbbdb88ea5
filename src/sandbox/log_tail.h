// SPDX-License-Identifier: Apache-2.0
// The last lines of a file, found from its end.

#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

// Moves the file's position to the start of its last `lines` lines. A last line without a newline
// is a line. Returns how many there are from there, fewer than asked for in a short file.
Result<uint64_t> SeekToTail(BorrowedFd file, uint64_t lines);

}  // namespace msb::sandbox
