// SPDX-License-Identifier: Apache-2.0
// Where a sandbox's root disk comes from: an image of the store, or a tree made into one.

#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/image_config.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

struct Root {
  UniqueFd disk;       // Open for reading only.
  std::string image;   // As shown to people.
  std::string digest;  // Of the manifest; empty for a tree.
  store::ImageConfig config;
};

// kNotFound with a remedy and a suggestion.
Result<Root> FindRoot(const sandbox::Home& home, const std::string& image);

// Has msb-image write the directory or tar into a file without a name.
Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source);

// msb-image: beside this program, else ../lib/microsandbox from it.
Result<std::string> FindImageProgram();

}  // namespace msb::cli
