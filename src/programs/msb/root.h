// SPDX-License-Identifier: Apache-2.0
// Where a sandbox's root comes from: an image of the store, or a tree of the user's.

#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/image_config.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

struct Root {
  sandbox::RootSource source;
  std::string image;   // As shown to people.
  std::string digest;  // Of the manifest; empty for a tree.
  store::ImageConfig config;
};

// kNotFound with a remedy and a suggestion. For a process sandbox the image's root tree, which is
// made by msb-image when it is not there.
Result<Root> FindRoot(const sandbox::Home& home, const std::string& image,
                      sandbox::Isolation isolation);

// Has msb-image write the directory or tar into a file without a name. A process sandbox uses the
// directory where it lies, and never writes to it; it takes no tar.
Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source,
                      sandbox::Isolation isolation);

// msb-image: beside this program, else ../lib/microsandbox from it.
Result<std::string> FindImageProgram();

}  // namespace msb::cli
