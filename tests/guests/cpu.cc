// SPDX-License-Identifier: Apache-2.0
// Bytes, a register's width at a time: REP MOVSB is one instruction and no page of code.

#include "cpu.h"

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes)::"memory");
  return to;
}

void* memmove(void* to, const void* from, size_t bytes) {
  // SAFETY: compared as numbers only.
  if (reinterpret_cast<uintptr_t>(to) <= reinterpret_cast<uintptr_t>(from))
    return memcpy(to, from, bytes);
  auto* last = static_cast<char*>(to) + bytes - 1;
  auto* source = static_cast<const char*>(from) + bytes - 1;
  asm volatile("std; rep movsb; cld" : "+D"(last), "+S"(source), "+c"(bytes)::"memory");
  return to;
}

void* memset(void* to, int value, size_t bytes) {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
  return to;
}

int memcmp(const void* left, const void* right, size_t bytes) {
  auto* a = static_cast<const unsigned char*>(left);
  auto* b = static_cast<const unsigned char*>(right);
  for (size_t i = 0; i < bytes; i++)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

}  // extern "C"

namespace msb::test_guest {

void TripleFault() {
  struct [[gnu::packed]] {
    uint16_t limit = 0;
    uint64_t base = 0;
  } none;
  for (;;) asm volatile("lidt %0; ud2" ::"m"(none));
}

}  // namespace msb::test_guest
