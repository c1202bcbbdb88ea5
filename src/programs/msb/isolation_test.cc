// SPDX-License-Identifier: Apache-2.0
// Who chooses the isolation, and what is said of it.

#include "programs/msb/isolation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::cli {
namespace {

using sandbox::Isolation;
using testing::HasSubstr;

GetEnv Says(std::optional<std::string> value) {
  return [value](const char* name) {
    EXPECT_STREQ(name, "MICROSANDBOX_ISOLATION");
    return value;
  };
}

Result<sandbox::Choice> Choose(std::optional<Isolation> flag, std::optional<std::string> said,
                               std::optional<Isolation> required = std::nullopt) {
  return ChooseIsolation(BorrowedFd::Raw(-1), flag, required, Says(std::move(said)));
}

TEST(Isolation, OfTheEnvironmentIsOneOfThreeWordsOrNone) {
  EXPECT_EQ(*IsolationOfEnvironment(Says(std::nullopt)), std::nullopt);
  EXPECT_EQ(*IsolationOfEnvironment(Says("")), std::nullopt);
  EXPECT_EQ(*IsolationOfEnvironment(Says("vm")), Isolation::kVm);
  EXPECT_EQ(*IsolationOfEnvironment(Says("vm-emulated")), Isolation::kVmEmulated);
  EXPECT_EQ(*IsolationOfEnvironment(Says("process")), Isolation::kProcess);
  auto wrong = IsolationOfEnvironment(Says("docker"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message(), HasSubstr("MICROSANDBOX_ISOLATION: "));
  EXPECT_THAT(wrong.error().remedy(), HasSubstr("vm-emulated"));
}

TEST(Isolation, OfTheEnvironmentIsSaidAndByWhom) {
  auto process = Choose(std::nullopt, "process");
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(process->isolation, Isolation::kProcess);
  EXPECT_THAT(process->note, testing::StartsWith("isolation process: "));
  EXPECT_THAT(process->note, HasSubstr("asked for by MICROSANDBOX_ISOLATION=process"));
  auto emulated = Choose(std::nullopt, "vm-emulated");
  ASSERT_TRUE(emulated.ok());
  EXPECT_EQ(emulated->isolation, Isolation::kVmEmulated);
  EXPECT_EQ(emulated->note,
            "isolation vm-emulated: asked for by MICROSANDBOX_ISOLATION=vm-emulated");
}

TEST(Isolation, OfTheCommandLineWins) {
  auto emulated = Choose(Isolation::kVmEmulated, "process");
  ASSERT_TRUE(emulated.ok());
  EXPECT_EQ(emulated->isolation, Isolation::kVmEmulated);
  EXPECT_EQ(emulated->note, "");
  EXPECT_EQ(Choose(Isolation::kProcess, "nonsense")->isolation, Isolation::kProcess);
}

TEST(Isolation, OfTheEnvironmentIsRefusedWhereMoreIsRequired) {
  for (auto required : {Isolation::kVm, Isolation::kVmEmulated}) {
    auto refused = Choose(std::nullopt, "process", required);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message(), HasSubstr("MICROSANDBOX_ISOLATION=process: "));
  }
}

}  // namespace
}  // namespace msb::cli
