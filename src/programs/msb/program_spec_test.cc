// SPDX-License-Identifier: Apache-2.0
// How flags, image and caller make one program.

#include "programs/msb/program_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Surroundings Pipes() {
  return {.get_env = [](const char* name) -> std::optional<std::string> {
    if (std::string_view(name) == "TERM") return "xterm";
    if (std::string_view(name) == "SECRET") return "s=1";
    return std::nullopt;
  }};
}
Surroundings OnTerminal() {
  Surroundings around = Pipes();
  around.stdin_terminal = around.stdout_terminal = true;
  around.size = protocol::TerminalSize{50, 132};
  return around;
}

store::ImageConfig PythonImage() {
  return {.entrypoint = {"python3"},
          .cmd = {"-i"},
          .env = {"PATH=/usr/bin", "LANG=C.UTF-8"},
          .user = "app",
          .working_dir = "/srv"};
}

TEST(MakeExecSpec, LetsTheImageSayWhatIsNotSaid) {
  auto exec = MakeExecSpec({}, PythonImage(), Pipes());
  ASSERT_TRUE(exec.ok());
  EXPECT_THAT(exec->argv, ElementsAre("python3", "-i"));
  EXPECT_THAT(exec->env, ElementsAre("PATH=/usr/bin", "LANG=C.UTF-8"));
  EXPECT_EQ(exec->user, "app");
  EXPECT_EQ(exec->workdir, "/srv");
  EXPECT_TRUE(exec->stdin_open);
  EXPECT_FALSE(exec->terminal);
}

TEST(MakeExecSpec, LetsOptionsOverrideTheImage) {
  ProgramOptions options{.command = {"id"},
                         .env = {"LANG=de", "NEW=1"},
                         .workdir = "/tmp",
                         .user = "0",
                         .no_stdin = true};
  auto exec = MakeExecSpec(options, PythonImage(), Pipes());
  ASSERT_TRUE(exec.ok());
  EXPECT_THAT(exec->argv, ElementsAre("id"));
  EXPECT_THAT(exec->env, ElementsAre("PATH=/usr/bin", "LANG=de", "NEW=1"));
  EXPECT_EQ(exec->user, "0");
  EXPECT_EQ(exec->workdir, "/tmp");
  EXPECT_FALSE(exec->stdin_open);
}

TEST(MakeExecSpec, StartsAShellWhereNobodyNamesACommand) {
  auto exec = MakeExecSpec({}, {}, Pipes());
  ASSERT_TRUE(exec.ok());
  EXPECT_EQ(exec->argv[0], "/bin/sh");
  EXPECT_EQ(exec->workdir, "/");
}

TEST(MakeExecSpec, TakesVariablesWithoutAValueFromTheCaller) {
  ProgramOptions options{.command = {"env"}, .env = {"SECRET", "NOT_SET"}};
  auto exec = MakeExecSpec(options, {}, Pipes());
  ASSERT_TRUE(exec.ok());
  EXPECT_THAT(exec->env, ElementsAre("SECRET=s=1"));
}

TEST(MakeExecSpec, PassesNothingElseOfTheCallersEnvironment) {
  auto exec = MakeExecSpec({.command = {"env"}}, {}, Pipes());
  EXPECT_THAT(exec->env, Not(Contains(StartsWith("TERM="))));
}

TEST(MakeExecSpec, ReplacesOnlyTheVariableOfTheSameName) {
  ProgramOptions options{.command = {"env"}, .env = {"LAN=1"}};
  auto exec = MakeExecSpec(options, PythonImage(), Pipes());
  EXPECT_THAT(exec->env, ElementsAre("PATH=/usr/bin", "LANG=C.UTF-8", "LAN=1"));
}

TEST(MakeExecSpec, GivesATerminalWhenBothEndsAreOne) {
  auto exec = MakeExecSpec({.command = {"sh"}}, {}, OnTerminal());
  EXPECT_TRUE(exec->terminal);
  EXPECT_EQ(exec->size, (protocol::TerminalSize{50, 132}));
  EXPECT_THAT(exec->env, Contains("TERM=xterm"));
  Surroundings half = OnTerminal();
  half.stdout_terminal = false;
  EXPECT_FALSE(MakeExecSpec({.command = {"sh"}}, {}, half)->terminal);
}

TEST(MakeExecSpec, ObeysTtyAndNoTty) {
  EXPECT_TRUE(
      MakeExecSpec({.command = {"sh"}, .terminal = TerminalMode::kAlways}, {}, Pipes())->terminal);
  EXPECT_FALSE(MakeExecSpec({.command = {"sh"}, .terminal = TerminalMode::kNever}, {}, OnTerminal())
                   ->terminal);
  // Output that is looked at, input that is not read: no terminal to type at.
  EXPECT_FALSE(MakeExecSpec({.command = {"sh"}, .no_stdin = true}, {}, OnTerminal())->terminal);
}

TEST(MakeExecSpec, RefusesARelativeDirectoryAndANulByte) {
  auto exec = MakeExecSpec({.command = {"sh"}, .workdir = "srv"}, {}, Pipes());
  ASSERT_FALSE(exec.ok());
  EXPECT_THAT(exec.error().message(), HasSubstr("--workdir srv"));
  EXPECT_FALSE(MakeExecSpec({.command = {std::string("a\0b", 3)}}, {}, Pipes()).ok());
  EXPECT_FALSE(MakeExecSpec({.command = {""}}, {}, Pipes()).ok());
}

TEST(MakeExecSpec, RefusesArgumentsThatNoFrameHolds) {
  EXPECT_FALSE(MakeExecSpec({.command = {"echo", std::string(64 * 1024, 'x')}}, {}, Pipes()).ok());
}

TEST(MakeSandboxSpec, CarriesEveryOption) {
  ExeOptions options{.image = "python",
                     .name = "web",
                     .detach = true,
                     .cpus = 3,
                     .memory_bytes = 300 * kMiB,
                     .storage_bytes = 100 * kMiB,
                     .timeout = std::chrono::seconds(5),
                     .hostname = "h",
                     .require_limits = true,
                     .debug_console = true};
  auto spec = MakeSandboxSpec(options);
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  EXPECT_EQ(spec->name, "web");
  EXPECT_EQ(spec->lifetime, sandbox::Lifetime::kDetached);
  EXPECT_EQ(spec->cpus, 3u);
  EXPECT_EQ(spec->memory_bytes, 300 * kMiB);
  EXPECT_EQ(spec->storage_bytes, 100 * kMiB);
  EXPECT_EQ(spec->timeout, std::chrono::seconds(5));
  EXPECT_EQ(spec->hostname, "h");
  EXPECT_TRUE(spec->require_limits && spec->debug_console);
  EXPECT_EQ(MakeSandboxSpec({.image = "a"})->lifetime, sandbox::Lifetime::kAttached);
}

TEST(MakeSandboxSpec, RefusesWhatNoMachineCanBe) {
  const ExeOptions kBad[] = {
      {.image = "a", .cpus = 0},          {.image = "a", .cpus = 99},
      {.image = "a", .memory_bytes = 0},  {.image = "a", .memory_bytes = 2048 * kGiB},
      {.image = "a", .storage_bytes = 0}, {.image = "a", .name = "../etc"},
      {.image = "a", .name = "-x"},       {.image = "a", .hostname = "a b"},
  };
  for (const ExeOptions& bad : kBad) {
    auto spec = MakeSandboxSpec(bad);
    ASSERT_FALSE(spec.ok());
    EXPECT_NE(spec.error().message(), "");
  }
}

}  // namespace
}  // namespace msb::cli
