// SPDX-License-Identifier: Apache-2.0
// getrandom() and ids made from it.

#include "sys/random.h"

#include <sys/random.h>

#include <string_view>
#include <vector>

#include "base/check.h"
#include "sys/retry.h"

namespace msb::sys {

void FillRandom(std::span<std::byte> out) {
  while (!out.empty()) {
    ssize_t n = RetryOnEintr([&] { return ::getrandom(out.data(), out.size(), 0); });
    CHECK(n > 0);
    out = out.subspan(static_cast<size_t>(n));
  }
}

std::string RandomId(size_t digits) {
  // Crockford's alphabet: no i, l, o, u that are misread aloud. Letters first.
  constexpr std::string_view kAlphabet = "abcdefghjkmnpqrstvwxyz0123456789";
  std::vector<std::byte> random(digits);
  FillRandom(random);
  std::string id;
  for (size_t i = 0; i < digits; i++)
    id += kAlphabet[static_cast<size_t>(random[i]) % (i == 0 ? 22 : 32)];
  return id;
}

}  // namespace msb::sys
