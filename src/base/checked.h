// SPDX-License-Identifier: Apache-2.0
// Arithmetic on numbers from outside: the answer, or an error; never a wrapped value.

#pragma once

#include <concepts>
#include <utility>

#include "base/result.h"

namespace msb {

template <std::integral To, std::integral From>
Result<To> checked_cast(From value) {
  if (!std::in_range<To>(value)) return Error(Code::kInvalidArgument, "number out of range");
  return static_cast<To>(value);
}

template <std::integral T>
Result<T> CheckedAdd(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return Error(Code::kInvalidArgument, "sum overflows");
  return sum;
}

template <std::integral T>
Result<T> CheckedMul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product))
    return Error(Code::kInvalidArgument, "product overflows");
  return product;
}

// `alignment` is a power of two.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace msb
