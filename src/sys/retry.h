// SPDX-License-Identifier: Apache-2.0
// For the wrappers of this module only: repeats a call that a signal interrupted.

#pragma once

#include <cerrno>

namespace msb::sys {

template <class F>
auto RetryOnEintr(F&& call) {
  auto rc = call();
  while (rc == -1 && errno == EINTR) rc = call();
  return rc;
}

}  // namespace msb::sys
