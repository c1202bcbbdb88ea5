// SPDX-License-Identifier: Apache-2.0
// When the directories of exec groups go away. A plain directory stands in for the cgroup, and what
// lies in an exec's directory for its processes: both make rmdir() fail.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <span>
#include <string>

#include "agent/exec_group.h"
#include "agent/test_host.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

class ExecGroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(::mkdtemp(path_.data()), nullptr);
    dir_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
    groups_ = MakeCgroups(*sys::Duplicate(dir_));
  }
  void TearDown() override { EXPECT_TRUE(sys::RemoveTreeAt(sys::Cwd(), path_).ok()); }

  bool There(const char* name) { return ::faccessat(dir_.get(), name, F_OK, 0) == 0; }
  // An exec that has come and gone, with `name` left in its directory e1.
  void EndHolding(const char* name) {
    auto group = groups_->Take();
    ASSERT_TRUE(group.ok());
    UniqueFd held(::openat(dir_.get(), name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ASSERT_TRUE(held);
    groups_->GiveBack(*std::move(group));
  }

  std::string path_ = "/tmp/msb_exec_group_test_XXXXXX";
  UniqueFd dir_;
  std::unique_ptr<ExecGroups> groups_;
};

TEST_F(ExecGroupTest, AnEmptyGroupGoesWithItsExec) {
  auto group = groups_->Take();
  ASSERT_TRUE(group.ok());
  EXPECT_TRUE(There("e1"));
  groups_->GiveBack(*std::move(group));
  groups_->Tidy();
  EXPECT_FALSE(There("e1"));
  EXPECT_TRUE(There("e2")) << "the one made ahead";
}

TEST_F(ExecGroupTest, AGroupThatDescendantsHoldGoesAfterThem) {
  EndHolding("e1/process");
  groups_->Tidy();
  groups_->Sweep();
  EXPECT_TRUE(There("e1"));
  ASSERT_EQ(::unlinkat(dir_.get(), "e1/process", 0), 0);
  groups_->Sweep();
  EXPECT_FALSE(There("e1"));
}

TEST_F(ExecGroupTest, EmptyGroupsBeneathGoWithIt) {
  auto group = groups_->Take();
  ASSERT_TRUE(group.ok());
  for (const char* name : {"e1/docker", "e1/docker/a", "e1/docker/b", "e1/docker/b/c"})
    ASSERT_EQ(::mkdirat(dir_.get(), name, 0755), 0);
  groups_->GiveBack(*std::move(group));
  groups_->Tidy();
  groups_->Sweep();
  EXPECT_FALSE(There("e1"));
}

TEST(SessionGroup, EndsWhatHasLeftTheProcessGroup) {
  TestHost host(MakeSessionGroups({}));
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  auto id = host.Open(Shell("setsid sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; wait"));
  auto lines = [&] { return Split(host.exec(id).output[1], '\n'); };
  ASSERT_TRUE(host.Until([&] { return lines().size() == 3; }));
  host.Send({.type = protocol::Type::kKill, .exec = id});
  ASSERT_TRUE(host.Until([&] { return host.exec(id).ended(); }));
  EXPECT_EQ(TestHost::End(host.exec(id)), "signal 9");
  for (size_t i = 0; i < 2; i++) {
    pid_t pid = *ParseNumber<pid_t>(lines()[i]);
    EXPECT_TRUE(host.Until([&] { return ::kill(pid, 0) == -1 && errno == ESRCH; }));
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST(SessionGroup, CountsWhatTheKernelKilledSinceItsStart) {
  for (const char* text : {"oom_kill_disable 0\nunder_oom 0\noom_kill %\n",
                           "low 0\nhigh 0\nmax 7\noom 3\noom_kill %\n"}) {
    UniqueFd events = *sys::MemFd("events");
    auto write = [&](char digit) {
      std::string now(text);
      now[now.find('%')] = digit;
      ASSERT_TRUE(sys::WriteAllAt(events, std::as_bytes(std::span(now)), 0).ok());
    };
    write('2');
    auto groups = MakeSessionGroups(*sys::Duplicate(events));
    auto group = *groups->Take();
    EXPECT_EQ(group->Usage({}).oom_kills, 0u);
    write('3');
    EXPECT_EQ(group->Usage({}).oom_kills, 1u);
    EXPECT_EQ((*groups->Take())->Usage({}).oom_kills, 0u);
  }
  EXPECT_EQ((*MakeSessionGroups({})->Take())->Usage({}).oom_kills, 0u);
}

// Counts what the session asks for.
class CountingGroups final : public ExecGroups {
 public:
  explicit CountingGroups(int& sweeps) : sweeps_(sweeps) {}
  Result<std::unique_ptr<ExecGroup>> Take() override { return real_->Take(); }
  void GiveBack(std::unique_ptr<ExecGroup> group) override { real_->GiveBack(std::move(group)); }
  void Tidy() override { real_->Tidy(); }
  void Sweep() override { ++sweeps_; }
  void KillAll() override { real_->KillAll(); }

 private:
  int& sweeps_;
  std::unique_ptr<ExecGroups> real_ = MakeProcessGroups();
};

TEST(Session, SweepsWhenAnOrphanHasEndedAndNothingElseHappens) {
  int sweeps = 0;
  TestHost host(std::make_unique<CountingGroups>(sweeps));
  // Orphans of the tests' processes are this process's, as they are the agent's in a guest.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  auto exec = host.Run(Shell("sleep 0.3 >/dev/null 2>&1 &"));
  EXPECT_EQ(TestHost::End(exec), "exit 0");
  EXPECT_EQ(sweeps, 0);
  EXPECT_TRUE(host.Until([&] { return sweeps > 0; }));
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

}  // namespace
}  // namespace msb::agent
