// SPDX-License-Identifier: Apache-2.0
// Limits on disks, of this host's cgroups and of the disk that the test lies on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/cgroup_mounts.h"
#include "sys/file.h"
#include "sys/random.h"

namespace msb::sys {
namespace {

using testing::HasSubstr;

bool OffersDisks(const CgroupHost& host) {
  for (const CgroupHost::Hierarchy& one : host.hierarchies)
    if (HasController(one, kDisksV1) || HasController(one, kDisksV2)) return true;
  return false;
}

TEST(CgroupDisks, AreLimitedOnlyForThoseWhoAsk) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root";
  auto host = CgroupHost::Find("", CgroupHost::Disks::kLimit);
  if (!host) GTEST_SKIP() << host.error().message();
  if (!OffersDisks(*host)) GTEST_SKIP() << "this host has no controller of disks";
  EXPECT_FALSE(OffersDisks(*CgroupHost::Find("")));
  auto disk = DiskOf("/proc/self/exe");
  if (!disk || !*disk) GTEST_SKIP() << "this program lies on no disk";

  auto cgroup =
      Cgroup::Create(*host, Cat(RandomId(8), ".test"), {.io_bytes = 1 << 20, .disks = {**disk}});
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().message();
  EXPECT_THAT(cgroup->missing(), testing::IsEmpty());
  EXPECT_TRUE(cgroup->LimitsIo());
  std::string said;
  for (const std::string& path : cgroup->Paths())
    for (const char* file : {"/io.max", "/blkio.throttle.read_bps_device"})
      if (auto text = ReadFileAt(Cwd(), path + file, 4096)) said += *text;
  EXPECT_THAT(said, HasSubstr((*disk)->Text()));
  EXPECT_THAT(said, HasSubstr("1048576"));
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST(CgroupDisks, OfADiskThatIsNotThereIsNamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root";
  auto host = CgroupHost::Find("", CgroupHost::Disks::kLimit);
  if (!host) GTEST_SKIP() << host.error().message();
  if (!OffersDisks(*host)) GTEST_SKIP() << "this host has no controller of disks";
  auto cgroup = Cgroup::Create(*host, Cat(RandomId(8), ".test"),
                               {.pids = 5, .io_bytes = 1 << 20, .disks = {{4095, 1}}});
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().message();
  EXPECT_FALSE(cgroup->LimitsIo());
  EXPECT_THAT(cgroup->missing(), testing::ElementsAre(HasSubstr("4095:1 ")));
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST(DiskOf, NamesWholeDisksAndWhatHasNone) {
  auto memory = DiskOf("/dev/shm");
  ASSERT_TRUE(memory.ok()) << memory.error().message();
  EXPECT_FALSE(memory->has_value());
  auto none = DiskOf("/proc");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), Code::kUnimplemented);
  EXPECT_THAT(none.error().message(), HasSubstr("/proc lies on no disk of its own"));
  EXPECT_EQ(DiskOf("/there/is/none").error().code(), Code::kNotFound);
  // Of a disk the kernel keeps a queue; of a partition it does not.
  if (auto root = DiskOf("/"); root && *root) {
    EXPECT_TRUE(FindAt(Cwd(), Cat("/sys/dev/block/", (*root)->Text(), "/queue"))->has_value());
  }
}

}  // namespace
}  // namespace msb::sys
