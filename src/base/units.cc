// SPDX-License-Identifier: Apache-2.0
// Parsing and printing of sizes and durations.

#include "base/units.h"

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/text.h"

namespace msb {
namespace {

// A decimal number with at most three digits after the point, in thousandths, and the unit's text.
struct Quantity {
  uint64_t thousandths;
  std::string_view unit;
};

std::optional<Quantity> SplitQuantity(std::string_view text) {
  size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0) return std::nullopt;
  auto whole = ParseNumber<uint64_t>(text.substr(0, digits));
  if (!whole || *whole > (uint64_t{1} << 50)) return std::nullopt;
  uint64_t thousandths = *whole * 1000;
  std::string_view rest = digits == text.npos ? "" : text.substr(digits);
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    uint64_t weight = 100;
    size_t count = 0;
    while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
      if (++count > 3) return std::nullopt;
      thousandths += static_cast<uint64_t>(rest[0] - '0') * weight;
      weight /= 10;
      rest.remove_prefix(1);
    }
    if (count == 0) return std::nullopt;
  }
  return Quantity{thousandths, rest};
}

bool SameLetters(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); i++)
    if ((a[i] | 0x20) != lower[i]) return false;
  return true;
}

Error BadSize(std::string_view text) {
  return Error(Code::kInvalidArgument, Cat("'", Escape(text, 40), "' is not a size"))
      .Remedy("write a size as 256M, 1G or 512MiB; a bare number is MiB");
}

}  // namespace

Result<uint64_t> ParseSize(std::string_view text) {
  auto quantity = SplitQuantity(text);
  if (!quantity) return BadSize(text);
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 15> kUnits{
      {{"", kMiB},
       {"b", 1},
       {"k", kKiB},
       {"kb", kKiB},
       {"kib", kKiB},
       {"m", kMiB},
       {"mb", kMiB},
       {"mib", kMiB},
       {"g", kGiB},
       {"gb", kGiB},
       {"gib", kGiB},
       {"t", 1024 * kGiB},
       {"tb", 1024 * kGiB},
       {"tib", 1024 * kGiB},
       {"bytes", 1}}};
  for (auto [unit, bytes] : kUnits) {
    if (!SameLetters(quantity->unit, unit)) continue;
    uint64_t product;
    if (__builtin_mul_overflow(quantity->thousandths, bytes, &product)) return BadSize(text);
    return product / 1000;
  }
  return BadSize(text);
}

std::string FormatSize(uint64_t bytes) {
  static constexpr std::string_view kNames[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  uint64_t tenths = bytes * 10;
  if (bytes > UINT64_MAX / 10) tenths = UINT64_MAX;
  while (tenths >= 10240 && unit + 1 < std::size(kNames)) {
    tenths = (tenths + 512) / 1024;
    unit++;
  }
  if (unit == 0 || tenths % 10 == 0 || tenths >= 1000) return Cat(tenths / 10, " ", kNames[unit]);
  return Cat(tenths / 10, ".", tenths % 10, " ", kNames[unit]);
}

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  auto bad = [&] {
    return Error(Code::kInvalidArgument, Cat("'", Escape(text, 40), "' is not a duration"))
        .Remedy("write a duration as 500ms, 10s, 5m, 2h or 1d; a bare number is seconds");
  };
  auto quantity = SplitQuantity(text);
  if (!quantity || quantity->thousandths == 0) return bad();
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 6> kUnits{
      {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  for (auto [unit, ms] : kUnits) {
    if (!SameLetters(quantity->unit, unit)) continue;
    uint64_t product;
    if (__builtin_mul_overflow(quantity->thousandths, ms, &product)) return bad();
    constexpr uint64_t kTenYearsMs = 3650ull * 86'400'000;
    product = std::max<uint64_t>(product / 1000, 1);
    if (product > kTenYearsMs) return bad();
    return std::chrono::milliseconds(product);
  }
  return bad();
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (ms < 0) ms = 0;
  if (ms < 1000) return Cat(ms, " ms");
  if (ms < 120'000) return Cat(ms / 1000, ".", ms % 1000 / 100, " s");
  if (ms < 2 * 3'600'000) return Cat(ms / 60'000, " min");
  if (ms < 2 * 86'400'000) return Cat(ms / 3'600'000, " h");
  return Cat(ms / 86'400'000, " d");
}

}  // namespace msb
