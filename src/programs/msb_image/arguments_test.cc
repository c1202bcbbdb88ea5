// SPDX-License-Identifier: Apache-2.0
// The command line, right and wrong.
#include "programs/msb_image/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::image_program {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<Command> Parsed(std::vector<std::string> arguments) { return ParseArguments(arguments); }

std::string Complaint(std::vector<std::string> arguments) {
  auto command = ParseArguments(arguments);
  return command.ok() ? "accepted" : command.error().message();
}

TEST(Arguments, ImportTakesConfigOptionsAnywhere) {
  Command command = *Parsed({"import", "--cmd", "python3", "app:1", "--cmd=-i", "dir", "--env",
                             "A=1", "--env=B=x=y", "--env", "A=2", "--workdir", "/srv", "--user",
                             "app:app", "--label", "k=v", "--json"});
  const auto& options = std::get<ImportOptions>(command);
  EXPECT_EQ(options.name, "app:1");
  EXPECT_EQ(options.source, "dir");
  EXPECT_THAT(options.config.cmd, ElementsAre("python3", "-i"));
  EXPECT_THAT(options.config.env, ElementsAre("A=2", "B=x=y"));
  EXPECT_EQ(options.config.working_dir, "/srv");
  EXPECT_EQ(options.config.user, "app:app");
  EXPECT_EQ(options.config.labels.at("k"), "v");
  EXPECT_EQ(options.config.os, "linux");
  EXPECT_TRUE(options.json);
  EXPECT_FALSE(options.quiet);
}

TEST(Arguments, WordsMayBeAJsonArray) {
  Command command = *Parsed({"import", "a", "-", "--entrypoint", R"(["a b","c"])"});
  EXPECT_THAT(std::get<ImportOptions>(command).config.entrypoint, ElementsAre("a b", "c"));
  EXPECT_EQ(std::get<ImportOptions>(command).source, "-");
}

TEST(Arguments, NothingIsAnOptionAfterTwoDashes) {
  Command command = *Parsed({"import", "--", "a", "--help"});
  EXPECT_EQ(std::get<ImportOptions>(command).source, "--help");
}

TEST(Arguments, UnpackTakesAPathOrADescriptor) {
  EXPECT_EQ(std::get<UnpackOptions>(*Parsed({"unpack", "--output-fd", "5", "x.tar"})).source,
            "x.tar");
  EXPECT_EQ(
      std::get<UnpackOptions>(*Parsed({"unpack", "--output-fd=5", "--source-fd=6"})).source_fd, 6);
  EXPECT_NE(Complaint({"unpack", "x"}), "accepted");
  EXPECT_NE(Complaint({"unpack", "--output-fd=5"}), "accepted");
  EXPECT_NE(Complaint({"unpack", "--output-fd=5", "--source-fd=6", "x"}), "accepted");
  EXPECT_NE(Complaint({"unpack", "--output-fd=-5", "x"}), "accepted");
  auto tree =
      std::get<UnpackTreeOptions>(*Parsed({"unpack-tree", "--disk-fd=5", "--tree-fd", "6"}));
  EXPECT_EQ(tree.disk_fd, 5);
  EXPECT_EQ(tree.tree_fd, 6);
  EXPECT_NE(Complaint({"unpack-tree", "--disk-fd=5"}), "accepted");
  EXPECT_NE(Complaint({"unpack-tree", "--disk-fd=5", "--tree-fd=6", "x"}), "accepted");
}

TEST(Arguments, SaysWhatIsWrong) {
  EXPECT_THAT(Complaint({}), HasSubstr("import, unpack or unpack-tree"));
  EXPECT_THAT(Complaint({"export"}), HasSubstr("unknown command export"));
  EXPECT_THAT(Complaint({"import", "a"}), HasSubstr("NAME and a DIR"));
  EXPECT_THAT(Complaint({"import", "a", "b", "c"}), HasSubstr("NAME and a DIR"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--nope"}), HasSubstr("unknown option --nope"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--cmd"}), HasSubstr("--cmd needs a value"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--json=1"}), HasSubstr("takes no value"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--env", "A"}), HasSubstr("not NAME=VALUE"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--workdir", "srv"}), HasSubstr("absolute"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--created", "now"}), HasSubstr("not a time"));
  EXPECT_THAT(Complaint({"import", "a", "b", "--cmd", "[1]"}), HasSubstr("expected string"));
}

TEST(Arguments, HelpAndVersionWinOverTheRest) {
  EXPECT_THAT(std::get<ShowText>(*Parsed({"import", "--help"})).text, HasSubstr("usage:"));
  EXPECT_THAT(std::get<ShowText>(*Parsed({"--version"})).text, HasSubstr(MSB_VERSION));
}

}  // namespace
}  // namespace msb::image_program
