// SPDX-License-Identifier: Apache-2.0
// What microbox itself says on stderr: a line for people, or one of JSON (--log-format json).

#pragma once

#include <span>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "programs/microbox/options.h"

namespace msb::microbox {

// "microbox: TEXT", or as JSON a line of the log with `text` as its message. At any --log-level:
// what is said this way is what was asked for and is not so. SetLogging() comes first.
void Say(const Options& options, LogLevel level, std::string_view text);
// The error, and how to mend it.
void Say(const Options& options, const Error& error);

// Whether the words before the command ask for JSON: for an error of the words themselves.
bool AsksForJson(std::span<const std::string_view> words);

}  // namespace msb::microbox
