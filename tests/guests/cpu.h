// SPDX-License-Identifier: Apache-2.0
// The processor's instructions that C++ has no words for, and the bytes functions that the compiler
// calls by itself.

#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
void* memcpy(void* to, const void* from, size_t bytes);
void* memmove(void* to, const void* from, size_t bytes);
void* memset(void* to, int value, size_t bytes);
int memcmp(const void* left, const void* right, size_t bytes);
}

namespace msb::test_guest {

inline uint64_t ReadMsr(uint32_t number) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
  return uint64_t{high} << 32 | low;
}

inline void WriteMsr(uint32_t number, uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(number), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}

// Not before what comes before it in the program.
inline uint64_t ReadTsc() {
  uint32_t low, high;
  asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
  return uint64_t{high} << 32 | low;
}

inline void Pause() { asm volatile("pause" ::: "memory"); }

// The processor keeps the order of stores and of loads; this keeps the compiler from changing it.
inline void Barrier() { asm volatile("" ::: "memory"); }

// The one way out of a machine without a switch: an exception that nobody handles.
[[noreturn]] void TripleFault();

}  // namespace msb::test_guest
