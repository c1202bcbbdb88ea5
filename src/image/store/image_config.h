// SPDX-License-Identifier: Apache-2.0
// What an image says about how it wants to be run, and its OCI documents (image-spec 1.1).

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/store/digest.h"

namespace msb::store {

struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "NAME=value", in the image's order.
  std::string user;              // "name", "uid", "name:group"; empty is root.
  std::string working_dir;       // Empty is "/".
  std::map<std::string, std::string> labels;
  std::string stop_signal;   // "SIGTERM"; empty when the image names none.
  std::string architecture;  // "amd64", "arm64".
  std::string os;            // "linux".
  std::string created;       // RFC 3339; empty when the image does not say.

  bool operator==(const ImageConfig&) const = default;
};

// What a run without a command starts: entrypoint and cmd; empty when the image names none.
std::vector<std::string> DefaultCommand(const ImageConfig& config);

// An OCI descriptor: a blob by media type, digest and size.
struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
};

inline constexpr std::string_view kManifestMediaType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kConfigMediaType = "application/vnd.oci.image.config.v1+json";
// The one layer of an imported image: its root disk, which lives in disks/ and not in blobs/.
inline constexpr std::string_view kRootDiskMediaType =
    "application/vnd.microsandbox.root-disk.v1.erofs";

// Reads the config document of any maker: fields that we do not use are passed over.
Result<ImageConfig> ParseImageConfig(std::string_view json);

// The config and manifest documents; the same values give the same bytes, hence the same digest.
std::string WriteImageConfig(const ImageConfig& config, const Descriptor& layer);
std::string WriteManifest(const Descriptor& config, const Descriptor& layer);

}  // namespace msb::store
