// SPDX-License-Identifier: Apache-2.0
// What the C++ library does when nobody catches: nothing here throws but its own bad_alloc. Its
// usual handler prints the exception's name, and for that carries a demangler of 50 KB.

#include <cstdlib>

namespace __gnu_cxx {

// The name is the library's.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
void __verbose_terminate_handler();
void __verbose_terminate_handler() { std::abort(); }
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

}  // namespace __gnu_cxx
