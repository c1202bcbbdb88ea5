// SPDX-License-Identifier: Apache-2.0
// CHECK: aborts on a bug of our own, in all builds. Data from outside can never reach one.

#pragma once

namespace msb::internal {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}

#define CHECK(condition)                                            \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::msb::internal::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (false)
