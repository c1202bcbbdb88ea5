// SPDX-License-Identifier: Apache-2.0
// The rate of the host's time stamp counter, which an emulated guest sees as its own.

#pragma once

#include <cstdint>

#include "base/fd.h"

namespace msb::sandbox {

// In kHz; 0 where there is none. Measured once a boot of the host, kept in `cache`.
uint64_t HostTscKhz(BorrowedFd cache);

}  // namespace msb::sandbox
