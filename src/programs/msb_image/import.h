// SPDX-License-Identifier: Apache-2.0
// `msb-image import`: stages an image, has a confined child unpack into it, hashes and commits.

#pragma once

#include "base/result.h"
#include "programs/msb_image/arguments.h"

namespace msb::image_program {

struct ImportOutcome {
  std::string output;  // For stdout.
  int signal = 0;      // Not zero: interrupted by it; nothing was stored.
};

Result<ImportOutcome> Import(const ImportOptions& options);

}  // namespace msb::image_program
