// SPDX-License-Identifier: Apache-2.0
// What `unpack` tells whoever started it: one JSON object on stdout, a summary or an error.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "image/rootfs/root_disk.h"

namespace msb::image_program {

// {"summary":{...}} or {"error":{"code":...,"message":...,"remedy":...,"errno":...}}
std::string WriteReport(const Result<rootfs::RootDiskSummary>& result);
// The unpacker was fed by a stranger, so its report is read like any untrusted text.
Result<rootfs::RootDiskSummary> ReadReport(std::string_view text);

enum class ErrorFormat : uint8_t { kText, kJson };

// "msb-image: message [code]" and "  fix: remedy", or one line of {"error":{...}} as msb's own.
std::string FormatError(const Error& error, ErrorFormat format);
// The same to stderr.
void PrintError(const Error& error, ErrorFormat format = ErrorFormat::kText);

}  // namespace msb::image_program
