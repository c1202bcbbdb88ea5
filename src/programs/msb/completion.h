// SPDX-License-Identifier: Apache-2.0
// Completion scripts, made of the tables that the program uses.

#pragma once

#include <string>

namespace msb::cli {

std::string BashCompletion();
std::string ZshCompletion();
std::string FishCompletion();

}  // namespace msb::cli
