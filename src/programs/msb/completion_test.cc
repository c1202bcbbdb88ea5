// SPDX-License-Identifier: Apache-2.0
// The scripts carry what the tables hold; that shells take them is tested with the shells.

#include "programs/msb/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "programs/msb/commands.h"
#include "programs/msb/help.h"
#include "programs/msb/parse.h"

namespace msb::cli {
namespace {

using ::testing::HasSubstr;

TEST(Completion, KnowsEveryOptionOfEveryCommandInEveryShell) {
  std::string bash = BashCompletion(), zsh = ZshCompletion(), fish = FishCompletion();
  for (const CommandInfo& command : Commands()) {
    for (const OptionInfo& option : DescribeOptions(command.name)) {
      for (const std::string& name : option.names) {
        EXPECT_THAT(bash, HasSubstr(name));
        EXPECT_THAT(zsh, HasSubstr(name));
        if (name.starts_with("--")) {
          EXPECT_THAT(fish, HasSubstr("-l " + name.substr(2)));
        }
      }
    }
  }
}

TEST(Completion, LeavesNoBlankOfItsTemplate) {
  for (const std::string& text : {BashCompletion(), ZshCompletion(), FishCompletion()}) {
    EXPECT_EQ(text.find("@FIRST@"), std::string::npos);
    EXPECT_EQ(text.find("@LEVELS@"), std::string::npos);
    EXPECT_EQ(text.find("@IMAGE@"), std::string::npos);
  }
}

TEST(Help, HasUsageOptionsAndExamplesForEveryCommand) {
  for (const CommandInfo& command : Commands()) {
    auto text = HelpText(command.name, false);
    ASSERT_TRUE(text.ok()) << command.name;
    EXPECT_THAT(*text, HasSubstr("Usage: msb " + std::string(command.name)));
    EXPECT_THAT(*text, HasSubstr("Examples:"));
    EXPECT_THAT(*text, HasSubstr("--help"));
  }
}

TEST(Help, OfAGroupListsItsCommands) {
  auto text = HelpText("image", false);
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, HasSubstr("image import"));
  EXPECT_THAT(*text, HasSubstr("image resolve"));
}

TEST(Help, SuggestsTheNearestCommand) {
  auto text = HelpText("exxe", false);
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.error().remedy(), HasSubstr("exe"));
}

}  // namespace
}  // namespace msb::cli
