// SPDX-License-Identifier: Apache-2.0
// Sizes and durations as users write them.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace msb {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// "256M", "1G", "512MiB", "64K", "1.5G" are bytes in powers of 1024 whatever the spelling (M, MB
// and MiB are one); a bare number is MiB.
Result<uint64_t> ParseSize(std::string_view text);

// "512 MiB", "1.5 GiB": for people.
std::string FormatSize(uint64_t bytes);

// "500ms", "10s", "5m", "2h", "1d"; a bare number is seconds. Positive, at most ten years.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

// "350 ms", "4.2 s", "3 min", "2 h": for people.
std::string FormatDuration(std::chrono::nanoseconds duration);

}  // namespace msb
