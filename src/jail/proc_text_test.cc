// SPDX-License-Identifier: Apache-2.0
// /proc as the kernel writes it, and as somebody who names his process would like it to be read.

#include "jail/proc_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::jail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kStatus =
    "Name:\tvcpu0\nUmask:\t0077\nState:\tS (sleeping)\nPPid:\t41\n"
    "Uid:\t1000\t1001\t1002\t1003\nGid:\t5\t5\t5\t5\nGroups:\t4 27 \n"
    "CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000001\n"
    "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\nThreads:\t4\n";

std::string Refusal(std::string_view text) {
  auto status = ParseTaskStatus(text);
  return status ? "read" : status.error().message();
}

TEST(TaskStatus, IsReadFieldByField) {
  auto status = ParseTaskStatus(kStatus);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_EQ(status->name, "vcpu0");
  EXPECT_EQ(status->parent, 41);
  EXPECT_EQ(status->uids, (TaskStatus::Ids{1000, 1001, 1002, 1003}));
  EXPECT_THAT(*status->groups, ElementsAre(4, 27));
  EXPECT_EQ(status->permitted, 0x1ffffffffffu);
  EXPECT_EQ(status->effective, 1u);
  EXPECT_EQ(status->bounding, 0u);
  EXPECT_EQ(status->no_new_privileges, 1u);
  EXPECT_EQ(status->seccomp_mode, 2u);
  EXPECT_EQ(status->seccomp_filters, 3u);
}

TEST(TaskStatus, SaysNothingOfWhatTheKernelDoesNotSay) {
  auto status = ParseTaskStatus("Name:\ta\nGroups:\t \n");
  ASSERT_TRUE(status.ok());
  EXPECT_FALSE(status->seccomp_mode || status->uids || status->effective || status->parent);
  EXPECT_THAT(*status->groups, IsEmpty());  // None, and that is known.
}

TEST(TaskStatus, BelievesNoNameThatLooksLikeAField) {
  EXPECT_EQ(ParseTaskStatus("Name:\tSeccomp:\t2\nSeccomp:\t0\n")->seccomp_mode, 0u);
  EXPECT_EQ(ParseTaskStatus("Name:\t\\nSeccomp:\t2\n")->seccomp_mode, std::nullopt);
  // The kernel escapes a newline; one that it did not would end in two of a field.
  EXPECT_THAT(Refusal("Name:\ta\nSeccomp:\t2\nSeccomp:\t0\n"), HasSubstr("Seccomp comes twice"));
  EXPECT_THAT(Refusal("Name:\ta\nName:\tb\n"), HasSubstr("Name comes twice"));
  EXPECT_THAT(Refusal("Name:\ta\nUid:\t0\t0\t0\t0\nUid:\t1\t1\t1\t1\n"), HasSubstr("Uid"));
  EXPECT_EQ(ParseTaskStatus("Name:\t\x1b]0;x\x07\n")->name, "\\x1b]0;x\\x07");
}

TEST(TaskStatus, IsRefusedWhenItIsNotWhatTheKernelWrites) {
  for (std::string_view text :
       {"", "\n", "Seccomp:\t2\nName:\ta\n", "Name:\ta\nno field\n", "Name:\ta\nUid:\t1\t1\t1\n",
        "Name:\ta\nUid:\t-1\t0\t0\t0\n", "Name:\ta\nUid:\t4294967296\t0\t0\t0\n",
        "Name:\ta\nUid:\t0\t0\t0\t0\t0\n", "Name:\ta\nCapEff:\t\n", "Name:\ta\nCapEff:\t0x1\n",
        "Name:\ta\nCapEff:\t10000000000000000\n", "Name:\ta\nSeccomp:\t2x\n",
        "Name:\ta\nNoNewPrivs:\t\n", "Name:\ta\nGroups:\t1 b\n", "Name:\ta\nPPid:\t99999999999\n"})
    EXPECT_NE(Refusal(text), "read") << text;
}

TEST(ProcessLimits, AreReadByColumn) {
  auto limits = ParseProcessLimits(
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max core file size        0                    unlimited            bytes     \n"
      "Max nice priority         0                    7                    \n");
  ASSERT_TRUE(limits.ok()) << limits.error().message();
  ASSERT_EQ(limits->size(), 2u);
  EXPECT_EQ((*limits)[0].name, "Max core file size");
  EXPECT_EQ((*limits)[0].soft, 0u);
  EXPECT_EQ((*limits)[0].hard, std::nullopt);
  EXPECT_EQ((*limits)[0].unit, "bytes");
  EXPECT_EQ((*limits)[1].hard, 7u);
  EXPECT_EQ((*limits)[1].unit, "");
}

TEST(ProcessLimits, AreRefusedWhenTheyAreNoTable) {
  std::string header =
      "Limit                     Soft Limit           Hard Limit           Units     \n";
  for (const std::string& text :
       {std::string(), header, std::string("short\n"), header + "Max open files 4 4\n",
        header + "Max open files            many                 4096                 files     \n",
        header + "Max open files            -1                   4096                 files     \n",
        "Max open files            4                    4096                 files     \n" +
            header})
    EXPECT_FALSE(ParseProcessLimits(text).ok()) << text;
}

TEST(ProcessMounts, AreReadWithTheOptionsOfTheMountNotOfTheFileSystem) {
  auto mounts = ParseProcessMounts(
      "36 35 98:0 / / ro,nosuid,nodev,noexec shared:1 master:2 - tmpfs none rw,size=1m\n"
      "37 36 8:1 /usr/bin/x /a\\040-\\040b rw,relatime - ext4 /dev/sda1 ro\n");
  ASSERT_TRUE(mounts.ok()) << mounts.error().message();
  ASSERT_EQ(mounts->size(), 2u);
  EXPECT_TRUE((*mounts)[0].read_only && (*mounts)[0].no_setuid && (*mounts)[0].no_devices);
  EXPECT_EQ((*mounts)[0].type, "tmpfs");
  EXPECT_EQ((*mounts)[1].at, "/a\\040-\\040b");
  EXPECT_FALSE((*mounts)[1].read_only || (*mounts)[1].no_setuid);
}

TEST(ProcessMounts, AreRefusedWhenALineIsCut) {
  for (std::string_view text : {"36 35 98:0 / /\n", "36 35 98:0 / / ro\n", "36 35 98:0 / / ro -\n",
                                "36 35 98:0 - / ro tmpfs none rw\n", "x\n"})
    EXPECT_FALSE(ParseProcessMounts(text).ok()) << text;
}

}  // namespace
}  // namespace msb::jail
