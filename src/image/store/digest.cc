// SPDX-License-Identifier: Apache-2.0
// The text form of digests.
#include "image/store/digest.h"

#include <algorithm>

#include "base/text.h"

namespace msb::store {

Result<Digest> Digest::Parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix))
    return Error(Code::kInvalidArgument,
                 Cat("digest \"", Escape(text, 100), "\": only sha256:... is known"));
  std::string_view hex = text.substr(kPrefix.size());
  auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (hex.size() != 2 * kBytes || !std::all_of(hex.begin(), hex.end(), is_digit))
    return Error(Code::kInvalidArgument, Cat("digest \"", Escape(text, 100), "\": needs ",
                                             2 * kBytes, " lower-case hexadecimal digits"));
  return Digest(std::string(hex));
}

Digest Digest::OfSha256(std::span<const std::byte, kBytes> hash) { return Digest(Hex(hash)); }

}  // namespace msb::store
