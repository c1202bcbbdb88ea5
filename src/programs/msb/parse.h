// SPDX-License-Identifier: Apache-2.0
// Arguments into options. Knows nothing of what the commands do.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "programs/msb/options.h"

namespace msb::cli {

// `arguments` without the program's name. Errors are the user's: kInvalidArgument with a remedy.
Result<CommandLine> ParseArguments(std::span<const std::string> arguments);

// One option or operand of a command, for help and completion.
struct OptionInfo {
  std::vector<std::string> names;  // "-d", "--detach"; empty for an operand.
  std::string value;               // "SIZE"; empty for a switch. The operand's name.
  std::string help;
};
// `command` is a name of the table.
std::vector<OptionInfo> DescribeOptions(std::string_view command);

}  // namespace msb::cli
