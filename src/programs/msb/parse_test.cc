// SPDX-License-Identifier: Apache-2.0
// What command lines mean, and how the wrong ones are refused.

#include "programs/msb/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "programs/msb/commands.h"
#include "programs/msb/help.h"
#include "programs/msb/program_spec.h"

namespace msb::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<CommandLine> Parse(std::vector<std::string> words) { return ParseArguments(words); }

template <class Options>
Options Parsed(std::vector<std::string> words) {
  auto line = ParseArguments(words);
  EXPECT_TRUE(line.ok()) << (line.ok() ? "" : line.error().message());
  if (!line || !std::holds_alternative<Options>(line->command)) {
    ADD_FAILURE() << "another command";
    return Options{};
  }
  return std::get<Options>(line->command);
}

struct Complaint {
  std::string message;
  std::string remedy;
};
Complaint Refused(std::vector<std::string> words) {
  auto line = ParseArguments(words);
  if (line) {
    ADD_FAILURE() << "accepted";
    return {};
  }
  EXPECT_NE(line.error().remedy(), "") << line.error().message();
  return {line.error().message(), line.error().remedy()};
}

TEST(ParseExe, TakesTheCommandAfterTwoDashes) {
  auto exe = Parsed<ExeOptions>({"exe", "python", "--", "python3", "-c", "print(1)"});
  EXPECT_EQ(exe.image, "python");
  EXPECT_THAT(exe.program.command, ElementsAre("python3", "-c", "print(1)"));
}

TEST(ParseExe, TakesTheCommandWithoutDashesAsDockerDoes) {
  auto exe = Parsed<ExeOptions>({"x", "--memory", "256M", "python", "ls", "-la", "--all"});
  EXPECT_EQ(exe.memory_bytes, 256 * kMiB);
  EXPECT_THAT(exe.program.command, ElementsAre("ls", "-la", "--all"));
}

TEST(ParseExe, LeavesTheDashesOfTheProgramToIt) {
  auto exe = Parsed<ExeOptions>({"exe", "a", "sh", "-c", "echo $1", "--", "x"});
  EXPECT_THAT(exe.program.command, ElementsAre("sh", "-c", "echo $1", "--", "x"));
  exe = Parsed<ExeOptions>({"exe", "a", "--", "sh", "--", "--help"});
  EXPECT_THAT(exe.program.command, ElementsAre("sh", "--", "--help"));
}

TEST(ParseExe, NeedsNoCommand) {
  EXPECT_THAT(Parsed<ExeOptions>({"exe", "python"}).program.command, IsEmpty());
}

TEST(ParseExe, AcceptsTheImageSwitchOfTheOriginal) {
  EXPECT_EQ(Parsed<ExeOptions>({"exe", "--image", "python"}).image, "python");
  EXPECT_EQ(Parsed<ExeOptions>({"exe", "-i", "python"}).image, "python");
}

TEST(ParseExe, UnderstandsEveryOption) {
  auto exe = Parsed<ExeOptions>({"exe",
                                 "--cpus=2",
                                 "--memory",
                                 "512",
                                 "--storage",
                                 "1G",
                                 "--env",
                                 "A=1",
                                 "--env",
                                 "B",
                                 "--workdir",
                                 "/srv",
                                 "--user",
                                 "nobody",
                                 "--name",
                                 "job",
                                 "-d",
                                 "--timeout",
                                 "10s",
                                 "--hostname",
                                 "h",
                                 "--no-tty",
                                 "--no-stdin",
                                 "--status-fd",
                                 "7",
                                 "--quiet",
                                 "--json",
                                 "--isolation",
                                 "vm-emulated",
                                 "--require",
                                 "vm-emulated",
                                 "--require-limits",
                                 "--cgroup",
                                 "/sys/fs/cgroup/mine",
                                 "--debug-console",
                                 "img"});
  EXPECT_EQ(exe.cpus, 2u);
  EXPECT_EQ(exe.memory_bytes, 512 * kMiB);
  EXPECT_EQ(exe.storage_bytes, kGiB);
  EXPECT_THAT(exe.program.env, ElementsAre("A=1", "B"));
  EXPECT_EQ(exe.program.workdir, "/srv");
  EXPECT_EQ(exe.program.user, "nobody");
  EXPECT_EQ(exe.name, "job");
  EXPECT_TRUE(exe.detach && exe.program.no_stdin && exe.program.quiet && exe.program.json);
  EXPECT_TRUE(exe.require_limits && exe.debug_console);
  EXPECT_EQ(exe.timeout, std::chrono::seconds(10));
  EXPECT_EQ(exe.cgroup, "/sys/fs/cgroup/mine");
  EXPECT_EQ(MakeSandboxSpec(exe)->cgroup, exe.cgroup);
  EXPECT_EQ(exe.hostname, "h");
  EXPECT_EQ(exe.program.terminal, TerminalMode::kNever);
  EXPECT_EQ(exe.program.status_fd, 7);
  EXPECT_EQ(exe.isolation, sandbox::Isolation::kVmEmulated);
  EXPECT_EQ(exe.required, sandbox::Isolation::kVmEmulated);
}

TEST(ParseExe, LetsTheLastOfASingleOptionWin) {
  EXPECT_EQ(Parsed<ExeOptions>({"exe", "--cpus", "1", "--cpus", "3", "a"}).cpus, 3u);
}

TEST(ParseExe, RefusesBadValuesByTheNameOfTheOption) {
  struct Case {
    std::vector<std::string> words;
    const char* message;
  };
  const Case kCases[] = {
      {{"exe", "--memory", "lots", "a"}, "--memory lots"},
      {{"exe", "--memory", "-1", "a"}, "--memory"},
      {{"exe", "--memory", "", "a"}, "--memory"},
      {{"exe", "--storage", "1Q", "a"}, "--storage 1Q"},
      {{"exe", "--cpus", "two", "a"}, "--cpus two"},
      {{"exe", "--cpus", "1.5", "a"}, "--cpus 1.5"},
      {{"exe", "--cpus", "99999999999", "a"}, "--cpus 99999999999"},
      {{"exe", "--timeout", "0", "a"}, "--timeout 0"},
      {{"exe", "--timeout", "soon", "a"}, "--timeout soon"},
      {{"exe", "--env", "=x", "a"}, "--env =x"},
      {{"exe", "--user", "", "a"}, "--user"},
      {{"exe", "--status-fd", "x", "a"}, "--status-fd x"},
      {{"exe", "--status-fd", "-1", "a"}, "--status-fd"},
      {{"exe", "--isolation", "chroot", "a"}, "--isolation chroot"},
      {{"exe", "--require", "all", "a"}, "--require all"},
      {{"exe", "a", "--memory"}, "--memory"},
  };
  for (const Case& bad : kCases) {
    auto line = Parse(bad.words);
    ASSERT_FALSE(line.ok()) << bad.message;
    EXPECT_EQ(line.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(line.error().message(), HasSubstr(bad.message));
  }
}

TEST(ParseExe, TakesNoOtherArgumentForAnEmptyValue) {
  EXPECT_THAT(Refused({"exe", "--name=", "img", "ls"}).message, HasSubstr("--name: needs a value"));
  EXPECT_THAT(Refused({"exe", "--cpus=", "2", "img"}).message, HasSubstr("--cpus: needs a value"));
  // The program's own words stay as they are.
  EXPECT_THAT(Parsed<ExeOptions>({"exe", "img", "env", "--name=", "x"}).program.command,
              ElementsAre("env", "--name=", "x"));
}

TEST(ParseExe, RefusesATerminalThatIsWantedAndNot) {
  EXPECT_THAT(Refused({"exe", "--tty", "--no-tty", "img"}).message, HasSubstr("contradict"));
  EXPECT_THAT(Refused({"exec", "--no-tty", "-t", "box", "ls"}).message, HasSubstr("contradict"));
  EXPECT_EQ(Parsed<ExeOptions>({"exe", "-t", "--tty", "img"}).program.terminal,
            TerminalMode::kAlways);
}

TEST(ParseExe, NamesTheSpellingThatWasUsed) {
  EXPECT_THAT(Refused({"exe", "--cpu", "x", "img"}).message, HasSubstr("--cpu x: "));
  EXPECT_THAT(Refused({"exe", "--cpus=y", "img"}).message, HasSubstr("--cpus y: "));
  EXPECT_THAT(Refused({"exe", "-m", "zz", "img"}).message, testing::StartsWith("-m zz: "));
  EXPECT_THAT(Refused({"exe", "-mzz", "img"}).message, testing::StartsWith("-m zz: "));
}

TEST(ParseExe, EscapesWhatItRepeats) {
  auto line = Parse({"exe", "--memory", "\033[2J", "a"});
  ASSERT_FALSE(line.ok());
  EXPECT_EQ(line.error().message().find('\033'), std::string::npos);
}

TEST(Parse, SuggestsOptionsAndCommands) {
  EXPECT_THAT(Refused({"exe", "--memroy", "1G", "a"}).remedy, HasSubstr("--memory"));
  EXPECT_THAT(Refused({"exe", "--memroy=1G", "a"}).remedy, HasSubstr("--memory"));
  EXPECT_THAT(Refused({"exce"}).remedy, HasSubstr("msb exe"));
  EXPECT_THAT(Refused({"image", "lits"}).remedy, HasSubstr("image list"));
}

TEST(Parse, SaysWhatIsNotInThisVersion) {
  for (const char* later : {"run", "install", "init", "up", "server", "pull"}) {
    auto line = Parse({later});
    ASSERT_FALSE(line.ok());
    EXPECT_EQ(line.error().code(), Code::kUnimplemented);
  }
  EXPECT_THAT(Refused({"exe", "--volume", "/a:/b", "a"}).message, HasSubstr("--volume"));
}

TEST(Parse, RefusesWhatIsTooMuchOrTooLittle) {
  EXPECT_THAT(Refused({"ps", "web"}).message, HasSubstr("unexpected argument web"));
  EXPECT_THAT(Refused({"ps", "--", "ls"}).message, HasSubstr("--"));
  EXPECT_THAT(Refused({"stop"}).message, HasSubstr("SANDBOX"));
  EXPECT_THAT(Refused({"exec"}).message, HasSubstr("SANDBOX"));
  EXPECT_THAT(Refused({"inspect"}).message, HasSubstr("SANDBOX"));
  EXPECT_THAT(Refused({"completion"}).message, HasSubstr("SHELL"));
  EXPECT_THAT(Refused({"--frobnicate"}).message, HasSubstr("--frobnicate"));
}

TEST(Parse, UnderstandsTheOtherCommands) {
  auto exec = Parsed<ExecOptions>({"exec", "--user", "1000", "web", "--", "id", "-u"});
  EXPECT_EQ(exec.sandbox, "web");
  EXPECT_THAT(exec.program.command, ElementsAre("id", "-u"));
  auto logs = Parsed<LogsOptions>({"logs", "-f", "--tail", "20", "web"});
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.tail, 20u);
  auto inspect = Parsed<InspectOptions>({"inspect", "--walls", "web"});
  EXPECT_TRUE(inspect.walls && !inspect.json);
  auto stop = Parsed<StopOptions>({"stop", "--grace", "30s", "a", "b"});
  EXPECT_EQ(stop.grace, std::chrono::seconds(30));
  EXPECT_THAT(stop.sandboxes, ElementsAre("a", "b"));
  EXPECT_TRUE(Parsed<RmOptions>({"rm", "-f", "a"}).force);
  EXPECT_TRUE(Parsed<PsOptions>({"status", "-a"}).all);
  EXPECT_TRUE(Parsed<ImageListOptions>({"image", "ls", "--json"}).json);
  EXPECT_THAT(Parsed<ImageRemoveOptions>({"image", "rm", "a"}).images, ElementsAre("a"));
  auto bench = Parsed<BenchStartOptions>({"bench", "start", "--runs", "5", "img", "--", "true"});
  EXPECT_EQ(bench.runs, 5u);
  EXPECT_THAT(bench.command, ElementsAre("true"));
}

TEST(Parse, HandsImportOnAsItIs) {
  auto import = Parsed<ImageImportOptions>({"image", "import", "n", "dir", "--cmd", "sh"});
  EXPECT_THAT(import.arguments, ElementsAre("n", "dir", "--cmd", "sh"));
}

TEST(Parse, FindsHelpAndVersionEverywhere) {
  EXPECT_EQ(Parsed<HelpOptions>({}).command, "");
  EXPECT_EQ(Parsed<HelpOptions>({"--help"}).command, "");
  EXPECT_EQ(Parsed<HelpOptions>({"exe", "--help"}).command, "exe");
  EXPECT_EQ(Parsed<HelpOptions>({"stop", "-h"}).command, "stop");
  EXPECT_EQ(Parsed<HelpOptions>({"image", "--help"}).command, "image");
  for (const char* group : {"image", "bench"}) {
    auto text = HelpText(group, false);
    ASSERT_TRUE(text.ok());
    EXPECT_THAT(*text, HasSubstr(Cat("Examples:\n  msb ", group, " ")));
  }
  EXPECT_EQ(Parsed<HelpOptions>({"help", "image", "list"}).command, "image list");
  // After the image it is the program's.
  EXPECT_THAT(Parsed<ExeOptions>({"exe", "a", "ls", "--help"}).program.command,
              ElementsAre("ls", "--help"));
  Parsed<VersionOptions>({"--version"});
  Parsed<VersionOptions>({"-V"});
}

TEST(Parse, TakesTheLogLevelsOfTheOriginalInFront) {
  auto line = Parse({"--debug", "ps"});
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->log_level, LogLevel::kDebug);
}

TEST(CommandTable, HasNoNameTwiceAndHelpWithExamplesForEach) {
  std::set<std::string> names;
  for (const CommandInfo& command : Commands()) {
    EXPECT_TRUE(names.insert(std::string(command.name)).second) << command.name;
    EXPECT_FALSE(command.examples.empty()) << command.name;
    EXPECT_EQ(FindCommand(command.name), &command);
    EXPECT_FALSE(DescribeOptions(command.name).empty());
    for (const OptionInfo& option : DescribeOptions(command.name))
      EXPECT_FALSE(option.help.empty()) << command.name;
  }
}

}  // namespace
}  // namespace msb::cli
