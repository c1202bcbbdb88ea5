// SPDX-License-Identifier: Apache-2.0
// Lays out help texts.

#include "programs/msb/help.h"

#include <algorithm>

#include "base/text.h"
#include "programs/msb/commands.h"
#include "programs/msb/parse.h"
#include "programs/msb/ui.h"

namespace msb::cli {

namespace {

std::string Title(std::string_view text, bool color) {
  return color ? Cat("\033[1m", text, "\033[0m\n") : Cat(text, "\n");
}

std::string TwoColumns(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, DisplayWidth(left));
  std::string text;
  for (const auto& [left, right] : rows)
    text += Cat("  ", left, std::string(width - DisplayWidth(left) + 2, ' '), right, "\n");
  return text;
}

std::string CommandList(std::string_view group) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const CommandInfo& command : Commands()) {
    if (!group.empty() && !command.name.starts_with(Cat(group, " "))) continue;
    std::string summary(command.summary);
    if (!command.aliases.empty()) summary += Cat(" (also: ", command.aliases, ")");
    rows.emplace_back(command.name, summary);
  }
  return TwoColumns(rows);
}

// The first of each command's.
std::string ExamplesOf(std::string_view group) {
  std::vector<std::string> lines;
  for (const CommandInfo& command : Commands())
    if (command.name.starts_with(Cat(group, " ")))
      lines.push_back(Split(command.examples, '\n').front());
  return Join(lines, "\n");
}

std::string Indented(std::string_view lines) {
  std::string text;
  for (const std::string& line : Split(lines, '\n')) text += Cat("  ", line, "\n");
  return text;
}

}  // namespace

std::string OverviewText(bool color) {
  return Cat(
      "Runs untrusted programs in small machines of their own.\n\n",
      Title("Usage: msb COMMAND [OPTIONS]", color), "\n", Title("Commands:", color),
      CommandList(""), "\n", Title("Examples:", color),
      Indented("msb exe microsandbox/python -- python3 -c 'print(6*7)'\n"
               "msb exe python                  # a shell or the image's own command\n"
               "msb doctor                      # what this host can do\n"
               "msb help exe                    # every option of a command"),
      "\nState is kept in $MICROSANDBOX_HOME (default ~/.microsandbox). What is started without\n"
      "--isolation has that of $MICROSANDBOX_ISOLATION, if it is set.\n");
}

Result<std::string> HelpText(std::string_view name, bool color) {
  if (name == "image" || name == "bench")
    return Cat(Title(Cat("Usage: msb ", name, " COMMAND"), color), "\n", Title("Commands:", color),
               CommandList(name), "\n", Title("Examples:", color), Indented(ExamplesOf(name)));
  const CommandInfo* command = FindCommand(name);
  if (command == nullptr) {
    std::vector<std::string> names;
    for (const CommandInfo& known : Commands()) names.emplace_back(known.name);
    Error error(Code::kInvalidArgument, Cat("no help for ", Escape(name, 80)));
    auto near = Suggest(name, names);
    return std::move(error).Remedy(near ? Cat("did you mean: msb help ", *near, "?")
                                        : "run: msb help");
  }
  std::vector<std::pair<std::string, std::string>> rows;
  for (const OptionInfo& option : DescribeOptions(command->name)) {
    std::string left = option.names.empty() ? option.value : Join(option.names, ", ");
    // Long names line up, with a short one before them or not.
    if (!option.names.empty() && option.names[0].starts_with("--")) left.insert(0, "    ");
    if (!option.names.empty() && !option.value.empty()) left += " " + option.value;
    rows.emplace_back(left, option.help);
  }
  std::string operands = command->operands.empty() ? "" : Cat(" ", command->operands);
  std::string aliases =
      command->aliases.empty() ? "" : Cat("Also called: ", command->aliases, "\n");
  return Cat(command->summary, ".\n\n",
             Title(Cat("Usage: msb ", command->name, " [OPTIONS]", operands), color), aliases, "\n",
             Title("Options:", color), TwoColumns(rows), "\n", Title("Examples:", color),
             Indented(command->examples));
}

}  // namespace msb::cli
