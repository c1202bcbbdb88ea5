// SPDX-License-Identifier: Apache-2.0
// The guest's kernel and initramfs, looked at before a machine is made: a missing or foreign file
// is an error with its remedy, not a machine that dies for no reason.

#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

// Open for reading. kNotFound, kPermissionDenied; kDataLoss when it is no ELF file of a kernel's
// size.
Result<UniqueFd> OpenKernel(const std::string& path);
// The same; kDataLoss when it is no cpio archive.
Result<UniqueFd> OpenInitramfs(const std::string& path);

}  // namespace msb::sandbox
