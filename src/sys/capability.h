// SPDX-License-Identifier: Apache-2.0
// Capabilities by raw system calls: dropping all of them, or all but a few, from every set.

#pragma once

#include <cstdint>

#include "base/result.h"

namespace msb::sys {

struct CapabilitySets {
  uint64_t effective = 0, permitted = 0, inheritable = 0;
};
Result<CapabilitySets> GetCapabilities();

// Leaves exactly `keep` (of what is held) in effective and permitted, and nothing in inheritable,
// ambient and bounding. The secure bits are locked so that uid 0 is no way back. Needs CAP_SETPCAP
// for the bounding set and the bits; without it they cannot matter, as no_new_privs must be set.
Result<void> DropCapabilities(uint64_t keep = 0);

// The same between clone and exec: 0, or -1 with errno.
int RawDropCapabilities(uint64_t keep);

// For a program that is to be root with a few capabilities. First the bounding set, while ids can
// still change; then effective and permitted, with inheritable and ambient empty. Uid 0 has `keep`
// after an exec too: it is what the bounding set holds.
int RawLimitCapabilities(uint64_t keep);
int RawKeepCapabilities(uint64_t keep);

}  // namespace msb::sys
