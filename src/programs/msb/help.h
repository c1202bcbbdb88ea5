// SPDX-License-Identifier: Apache-2.0
// Help, made of the tables that the program uses.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace msb::cli {

// What `msb` alone prints.
std::string OverviewText(bool color);
// Of a command, or of a group of commands ("image").
Result<std::string> HelpText(std::string_view command, bool color);

}  // namespace msb::cli
