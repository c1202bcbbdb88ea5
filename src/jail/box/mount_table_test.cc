// SPDX-License-Identifier: Apache-2.0
#include "jail/box/mount_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::box {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kTable =
    "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "22 21 0:20 / /proc rw - proc proc rw\n"
    "23 22 0:20 / /proc/sys ro - proc proc rw\n"
    "24 21 0:6 / /dev rw shared:2 master:7 - devtmpfs devtmpfs rw\n"
    "30 21 0:44 / /srv/b rw - tmpfs none rw\n"
    "31 21 0:45 /x /srv rw - ext4 /dev/vdb rw\n"
    "32 21 0:46 / /with\\040blank\\134 rw - fuse.sshfs me@there:/ rw\n"
    "33 30 0:47 / /srv/b rw - tmpfs none rw\n"
    "34 21 0:48 / /processing rw - tmpfs none rw\n";

TEST(MountTable, IsReadAsTheKernelWritesIt) {
  auto table = ParseMountInfo(kTable);
  ASSERT_EQ(table.size(), 9u);
  EXPECT_EQ(table[0].place, "/");
  EXPECT_EQ(table[3].type, "devtmpfs");
  EXPECT_EQ(table[6].place, "/with blank\\");
  EXPECT_EQ(table[6].type, "fuse.sshfs");
}

TEST(MountTable, LeavesOutWhatIsNoLineOfIt) {
  EXPECT_THAT(ParseMountInfo(""), IsEmpty());
  EXPECT_THAT(ParseMountInfo("\n - ext4\n1 2 3 4 relative rw - ext4 x rw\n1 2 3 4 /a rw -\n"
                             "1 2 3 4 /a rw shared:1\n"),
              IsEmpty());
  // No escape: not octal, too large, cut off.
  EXPECT_EQ(ParseMountInfo("1 2 3:4 / /a\\09b\\777\\04 rw - t").at(0).place, "/a\\09b\\777\\04");
}

TEST(MountTable, TellsWhatIsBelowADirectory) {
  std::vector<MountEntry> table = {{"/", "ext4"}, {"/a", "tmpfs"}, {"/a/b", "xfs"}, {"/ab", "nfs"}};
  EXPECT_THAT(MountsBelow(table, "/a"), testing::ElementsAre("/a/b"));
  EXPECT_THAT(MountsBelow(table, "/ab"), testing::IsEmpty());
  EXPECT_THAT(MountsBelow(table, "/"), testing::IsSupersetOf({"/a", "/a/b", "/ab"}));
}

TEST(MountTable, TheHostsTreeIsEveryPlaceOnceAboveBeforeBelow) {
  EXPECT_THAT(HostMounts(ParseMountInfo(kTable)),
              ElementsAre("/processing", "/srv", "/srv/b", "/with blank\\"));
}

}  // namespace
}  // namespace msb::box
