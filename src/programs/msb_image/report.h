// SPDX-License-Identifier: Apache-2.0
// What `unpack` tells whoever started it: one JSON object on stdout, a summary or an error.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "image/rootfs/root_disk.h"

namespace msb::image_program {

// {"summary":{...}} or {"error":{"code":...,"message":...,"remedy":...,"errno":...}}
std::string WriteReport(const Result<rootfs::RootDiskSummary>& result);
// The unpacker was fed by a stranger, so its report is read like any untrusted text.
Result<rootfs::RootDiskSummary> ReadReport(std::string_view text);

// "msb-image: message [code]", and the remedy on a line of its own.
void PrintError(const Error& error);

}  // namespace msb::image_program
