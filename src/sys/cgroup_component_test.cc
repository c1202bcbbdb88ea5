// SPDX-License-Identifier: Apache-2.0
// Cgroups of the host, where it lets us make some; where it does not, the refusal is tested.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/random.h"

namespace msb::sys {
namespace {

// nullopt and a tested reason where this process may not make cgroups.
std::optional<Cgroup> Make(std::string_view name, const CgroupLimits& limits, CgroupHost& host) {
  auto found = CgroupHost::Find("");
  if (!found) {
    EXPECT_EQ(found.error().code(), Code::kFailedPrecondition);
    EXPECT_FALSE(found.error().message().empty());
    return std::nullopt;
  }
  host = *std::move(found);
  auto made = Cgroup::Create(host, name, limits);
  if (!made && made.error().code() == Code::kPermissionDenied) {
    EXPECT_NE(::geteuid(), 0u);
    EXPECT_FALSE(made.error().remedy().empty());
    return std::nullopt;
  }
  EXPECT_TRUE(made.ok()) << made.error().message();
  if (!made) return std::nullopt;
  return *std::move(made);
}

TEST(Cgroup, HoldsKillsAndGoesAway) {
  std::string name = Cat(RandomId(8), ".test");
  CgroupHost host;
  auto cgroup = Make(name, {.memory_bytes = 64 << 20, .cpu_milli = 1500, .pids = 10}, host);
  if (!cgroup) return;
  auto sleeper = ForkChild([] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(sleeper.ok());
  auto pid_text = ReadFileAt(Cwd(), Cat("/proc/self/fdinfo/", sleeper->pidfd().get()), 4096);
  ASSERT_TRUE(pid_text.ok());
  size_t at = pid_text->find("Pid:\t");
  int pid = std::atoi(pid_text->c_str() + at + 5);
  ASSERT_TRUE(cgroup->Add(pid).ok());
  EXPECT_THAT(*Cgroup::ListOurs(host), testing::Contains(name));

  // With a member it stays; emptied it goes, and going twice is fine.
  EXPECT_FALSE(Cgroup::Adopt(host, name)->Remove().ok());
  auto adopted = Cgroup::Adopt(host, name);
  ASSERT_TRUE(adopted.ok());
  ASSERT_TRUE(adopted->Kill().ok());
  auto status = sleeper->Wait(Deadline::After(std::chrono::seconds(5)));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->code, SIGKILL);
  EXPECT_TRUE(adopted->Remove().ok());
  EXPECT_TRUE(cgroup->Remove().ok());
  EXPECT_TRUE(cgroup->Remove().ok());
  EXPECT_THAT(*Cgroup::ListOurs(host), testing::Not(testing::Contains(name)));
  EXPECT_EQ(Cgroup::Adopt(host, name).error().code(), Code::kNotFound);
}

TEST(Cgroup, NamesALimitThatCannotBeSet) {
  CgroupHost host;
  // One page less than nothing that a kernel could promise.
  auto cgroup =
      Make(Cat(RandomId(8), ".test"), {.memory_bytes = 64 << 20, .pids = 4294967295u}, host);
  if (!cgroup) return;
  EXPECT_TRUE(cgroup->LimitsMemory());
  EXPECT_FALSE(cgroup->LimitsPids());
  EXPECT_THAT(cgroup->missing(), testing::ElementsAre(testing::StartsWith("pids: ")));
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST(Cgroup, LeavesNothingWhenItCannotBeMade) {
  std::string name = Cat(RandomId(8), ".test");
  CgroupHost host;
  auto first = Make(name, {.memory_bytes = 64 << 20}, host);
  if (!first) return;
  // The name is taken: the second attempt must not take the first away.
  auto second = Cgroup::Create(host, name, {.memory_bytes = 64 << 20});
  EXPECT_EQ(second.error().code(), Code::kAlreadyExists);
  EXPECT_TRUE(Cgroup::Adopt(host, name).ok());
  EXPECT_TRUE(first->Remove().ok());
}

}  // namespace
}  // namespace msb::sys
