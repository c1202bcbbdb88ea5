// SPDX-License-Identifier: Apache-2.0
// Image references: one grammar, one normal form, and how a short name becomes one.
//
//   reference  = name [":" tag] ["@" digest]
//   name       = [registry "/"] component *("/" component)
//   registry   = host name or IPv4 address [":" port]; "localhost", or holding a "." or ":"
//   component  = [a-z0-9]+, joined by ".", "_", "__" or any number of "-"
//   tag        = [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//   digest     = "sha256:" 64 lower-case hexadecimal digits
//
// The grammar is the one that Docker and the OCI distribution specification share.

#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/store/digest.h"

namespace msb::store {

inline constexpr std::string_view kDefaultRegistry = "docker.io";
inline constexpr std::string_view kDefaultNamespace = "library";
inline constexpr std::string_view kDefaultTag = "latest";

class Reference {
 public:
  // Applies the defaults (registry, `library/`, `latest` when there is no digest either) but not
  // the short names: for text that was resolved before.
  static Result<Reference> Parse(std::string_view text);

  const std::string& registry() const { return registry_; }      // "docker.io", "localhost:5000"
  const std::string& repository() const { return repository_; }  // "library/alpine"
  const std::string& tag() const { return tag_; }                // Empty only beside a digest.
  const std::optional<Digest>& digest() const { return digest_; }

  // Everything spelled out: "docker.io/library/alpine:3.20".
  std::string Canonical() const;
  // As people write it: "alpine:3.20", "microsandbox/python". Parses back to the same reference.
  std::string Familiar() const;

  auto operator<=>(const Reference&) const = default;

 private:
  Reference() = default;
  std::string registry_;
  std::string repository_;
  std::string tag_;
  std::optional<Digest> digest_;
};

// What a name typed by a user means, and by which steps, for `msb image resolve`.
struct Resolution {
  Reference reference;
  std::vector<std::string> steps;  // "short name: python is microsandbox/python", ...
};

// A name in the short-name table (`python`, `node`) is replaced when it comes without registry,
// namespace and digest and with no tag but `latest`; then as Parse.
Result<Resolution> Resolve(std::string_view text);

}  // namespace msb::store
