// SPDX-License-Identifier: Apache-2.0
// The failing side of CHECK: no allocation, no lock, then abort.

#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace msb::internal {

void CheckFailed(const char* condition, const char* file, int line) {
  ::dprintf(2, "CHECK failed: %s (%s:%d)\n", condition, file, line);
  ::abort();
}

}  // namespace msb::internal
