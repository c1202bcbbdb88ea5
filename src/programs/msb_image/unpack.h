// SPDX-License-Identifier: Apache-2.0
// `msb-image unpack`: the process that reads a stranger's archive. It has the source, the output
// and stderr, and confines itself before the first byte, so what an archive could do with a bug in
// a decompressor ends at the disk that is made from that same archive.

#pragma once

#include "base/result.h"
#include "image/rootfs/root_disk.h"
#include "programs/msb_image/arguments.h"

namespace msb::image_program {

// Directory or tar by what `source` is; "-" is stdin.
Result<UniqueFd> OpenSource(const std::string& source);

// Takes the output descriptor over.
Result<rootfs::RootDiskSummary> Unpack(const UnpackOptions& options);

}  // namespace msb::image_program
