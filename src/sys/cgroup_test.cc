// SPDX-License-Identifier: Apache-2.0
// Where cgroups are mounted, as mountinfo says it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/cgroup_mounts.h"

namespace msb::sys {
namespace {

using testing::ElementsAre;

TEST(CgroupMounts, FindsEachHierarchyOfVersion1AndItsControllers) {
  auto found = CgroupHierarchies(
      "24 30 0:22 / /proc rw - proc proc rw\n"
      "36 35 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "37 35 0:28 / /sys/fs/cgroup/memory rw shared:10 master:2 - cgroup cgroup rw,memory\n"
      "38 35 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "39 35 0:28 / /mnt/again rw - cgroup cgroup rw,memory\n");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].root, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_THAT(found[0].controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_EQ(found[1].root, "/sys/fs/cgroup/memory");
  EXPECT_FALSE(found[1].v2);
}

TEST(CgroupMounts, KnowsTheHierarchyOfDisks) {
  auto found = CgroupHierarchies("36 35 0:27 / /c/blkio rw - cgroup cgroup rw,blkio\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0].controllers, ElementsAre("blkio"));
}

TEST(CgroupHost, LeavesDisksOutOfBothVersions) {
  CgroupHost host;
  host.hierarchies = {{"/v1/blkio", {"blkio"}},
                      {"/v1/memory", {"memory"}},
                      {"/v2", {"io", "cpu"}, true},
                      {"/mixed", {"blkio", "pids"}}};
  host.LeaveDisksOut();
  ASSERT_EQ(host.hierarchies.size(), 3u);
  EXPECT_EQ(host.hierarchies[0].root, "/v1/memory");
  EXPECT_THAT(host.hierarchies[1].controllers, ElementsAre("cpu"));
  EXPECT_THAT(host.hierarchies[2].controllers, ElementsAre("pids"));
}

TEST(CgroupMounts, FindsVersion2) {
  auto found = CgroupHierarchies("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].v2);
  EXPECT_EQ(found[0].root, "/sys/fs/cgroup");
}

TEST(CgroupMounts, IgnoresBrokenLines) {
  EXPECT_TRUE(CgroupHierarchies("").empty());
  EXPECT_TRUE(CgroupHierarchies("- - - -\n36 35 0:27 / /x rw - cgroup\nx\n").empty());
  EXPECT_TRUE(CgroupHierarchies("36 35 0:27 / /a\\040b rw - cgroup2 c rw\n").empty());
}

TEST(Cgroup, RefusesNamesThatAreNotOneDirectory) {
  CgroupHost host;
  for (const char* name : {"", ".", "..", "a/b", "../x", "a..b", "a.", ".a", "-x"}) {
    EXPECT_FALSE(Cgroup::Create(host, name, {}).ok()) << name;
    EXPECT_FALSE(Cgroup::Adopt(host, name).ok()) << name;
  }
}

TEST(CgroupHost, SaysWhatADelegatedDirectoryMustBe) {
  constexpr std::pair<const char*, const char*> kCases[] = {
      {"/tmp", "/tmp is not a cgroup"},
      {"/tmp/there/is/none", "No such file or directory"},
      {"/etc/passwd", "Not a directory"},
  };
  for (auto [given, said] : kCases) {
    auto host = CgroupHost::Find(given);
    ASSERT_FALSE(host.ok()) << given;
    EXPECT_THAT(host.error().message(), testing::HasSubstr(said));
    EXPECT_FALSE(host.error().remedy().empty());
  }
}

TEST(CgroupPath, IsFoundForEachHierarchy) {
  constexpr std::string_view kText =
      "9:name=systemd:/s\n3:cpu,cpuacct:/a:b\n1:memory:/m\n0::/unified\nbroken\n";
  EXPECT_EQ(CgroupPathIn({"/c", {"cpu", "cpuacct"}}, kText), "/a:b");
  EXPECT_EQ(CgroupPathIn({"/c", {"memory"}}, kText), "/m");
  EXPECT_EQ(CgroupPathIn({"/c", {"memory", "pids"}, true}, kText), "/unified");
  EXPECT_EQ(CgroupPathIn({"/c", {"pids"}}, kText), "");
}

}  // namespace
}  // namespace msb::sys
