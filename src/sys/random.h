// SPDX-License-Identifier: Apache-2.0
// Random bytes and ids from the kernel.

#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace msb::sys {

// getrandom(): cannot fail for a booted Linux (CHECK).
void FillRandom(std::span<std::byte> out);

// `digits` lower-case letters and digits, the first a letter; 5 bits of randomness each (the first
// a little less).
std::string RandomId(size_t digits);

}  // namespace msb::sys
