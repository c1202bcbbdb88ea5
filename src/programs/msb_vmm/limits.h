// SPDX-License-Identifier: Apache-2.0
// What msb-vmm takes from itself before it reads anything of others: resources.

#pragma once

#include <cstdint>

#include "base/result.h"

namespace msb::vmm {

// Resource limits, and a C library that is content with little: one heap for all threads, small
// stacks. The writable disk is the one file that may grow, and it does not.
Result<void> LimitProcess(uint64_t largest_file_bytes);

}  // namespace msb::vmm
