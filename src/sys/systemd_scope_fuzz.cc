// SPDX-License-Identifier: Apache-2.0
// Bytes of a bus or manager against our side of the dialogue, in pieces: the first byte is their
// size.

#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/systemd_scope.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  msb::sys::ScopeDialogue dialogue("msb-0a1b.scope", true);
  auto rest = std::as_bytes(std::span(data, size)).subspan(1);
  size_t piece = data[0] == 0 ? rest.size() : data[0];
  while (!rest.empty()) {
    auto front = rest.first(rest.size() < piece ? rest.size() : piece);
    if (!dialogue.Feed(front)) return 0;
    rest = rest.subspan(front.size());
  }
  return 0;
}
