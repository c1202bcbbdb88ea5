// SPDX-License-Identifier: Apache-2.0
// Digest: the SHA-256 by which a blob, a manifest or a root disk is named.

#pragma once

#include <compare>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace msb::store {

class Digest {
 public:
  static constexpr size_t kBytes = 32;

  // "sha256:" and 64 lower-case digits, nothing else: the value names a file.
  static Result<Digest> Parse(std::string_view text);
  static Digest OfSha256(std::span<const std::byte, kBytes> hash);

  const std::string& hex() const { return hex_; }
  std::string ToString() const { return "sha256:" + hex_; }
  // The first twelve digits, for tables and messages.
  std::string Short() const { return hex_.substr(0, 12); }

  auto operator<=>(const Digest&) const = default;

 private:
  explicit Digest(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

}  // namespace msb::store
