// SPDX-License-Identifier: Apache-2.0
// `msb-image unpack-tree`: the process that writes a root disk's files into a directory. The disk
// holds a stranger's names, owners and modes, so it confines itself to that directory first.

#pragma once

#include <string>

#include "base/result.h"
#include "programs/msb_image/arguments.h"

namespace msb::image_program {

// Takes both descriptors over. Answers one JSON object, {"tree":{...}}. Run by root, files keep the
// owners of the image; run by an ordinary user, all are the user's.
Result<std::string> UnpackTree(const UnpackTreeOptions& options);

}  // namespace msb::image_program
