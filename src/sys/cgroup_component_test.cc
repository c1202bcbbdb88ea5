// SPDX-License-Identifier: Apache-2.0
// Cgroups of the host, where it lets us make some; where it does not, the refusal is tested.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/cgroup_mounts.h"
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

// A cgroup as an administrator hands it out: made by hand, in each hierarchy.
class Delegated {
 public:
  // Beneath `host`, which could make one.
  explicit Delegated(const CgroupHost& host) : name_(Cat("msb-test-", RandomId(8))) {
    for (const auto& hierarchy : host.hierarchies) {
      // Has the controllers of version 2 handed on, as systemd does.
      EXPECT_TRUE(EnsureOurCgroups(host, hierarchy, nullptr).ok());
      EXPECT_EQ(::mkdir(Cat(hierarchy.root, "/", name_).c_str(), 0755), 0);
      paths_.push_back(Cat(hierarchy.root, "/", name_));
    }
  }
  ~Delegated() {
    for (const std::string& path : paths_) {
      for (const char* below : {"/microsandbox/supervisors", "/microsandbox", ""})
        (void)::rmdir((path + below).c_str());
      EXPECT_EQ(::access(path.c_str(), F_OK), -1) << path << " is left";
    }
  }
  const std::string& path() const { return paths_[0]; }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::vector<std::string> paths_;
};

// The host where this process may make cgroups; Make() has tested the refusal elsewhere.
std::optional<CgroupHost> Plain() {
  CgroupHost host;
  auto probe = Make(Cat(RandomId(8), ".test"), {.memory_bytes = 64 << 20}, host);
  if (!probe) return std::nullopt;
  EXPECT_TRUE(probe->Remove().ok());
  return host;
}

TEST(DelegatedCgroup, HasOursBelowItAndNothingElsewhere) {
  auto plain = Plain();
  if (!plain) GTEST_SKIP() << "cgroups are not made by plain directories here";
  Delegated given(*plain);
  auto host = CgroupHost::Find(given.path());
  ASSERT_TRUE(host.ok()) << host.error().message();
  std::string name = Cat(RandomId(8), ".test");
  auto cgroup =
      Cgroup::Create(*host, name, {.memory_bytes = 64 << 20, .cpu_milli = 1500, .pids = 10});
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().message();
  EXPECT_TRUE(cgroup->LimitsMemory() && cgroup->LimitsCpu() && cgroup->LimitsPids());
  EXPECT_EQ(cgroup->Paths().size(), plain->hierarchies.size());
  for (const std::string& path : cgroup->Paths())
    EXPECT_THAT(path, testing::EndsWith(Cat("/", given.name(), "/microsandbox/", name)));
  EXPECT_THAT(*Cgroup::ListOurs(*plain), testing::Not(testing::Contains(name)));
  EXPECT_TRUE(cgroup->Remove().ok());
}

// Version 2 would say EBUSY otherwise, and both would die together.
TEST(DelegatedCgroup, KeepsTheSupervisorBesideItsMachine) {
  auto plain = Plain();
  if (!plain) GTEST_SKIP() << "cgroups are not made by plain directories here";
  Delegated given(*plain);
  auto host = *CgroupHost::Find(given.path());
  auto machine = Cgroup::Create(host, Cat(RandomId(8), ".test"), {.memory_bytes = 64 << 20});
  ASSERT_TRUE(machine.ok()) << machine.error().message();
  auto supervisor = ForkChild([&] {
    if (!LeaveCallersCgroup(host)) return 1;
    auto now = ReadFileAt(Cwd(), "/proc/self/cgroup", 1 << 16);
    std::string place = Cat("/", given.name(), "/microsandbox/supervisors");
    for (const auto& hierarchy : host.hierarchies)
      if (!now || CgroupPathIn(hierarchy, *now) != place) return 2;
    return machine->Kill() ? 42 : 3;
  });
  ASSERT_TRUE(supervisor.ok());
  auto status = supervisor->Wait(Deadline::After(std::chrono::seconds(20)));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(*status, (ExitStatus{false, 42}));
  EXPECT_TRUE(machine->Remove().ok());
}

TEST(DelegatedCgroup, WithProcessesOfItsOwnIsRefusedOnVersion2) {
  auto plain = Plain();
  if (!plain || !plain->hierarchies[0].v2) GTEST_SKIP() << "version 1 has no such rule";
  Delegated given(*plain);
  auto member = ForkChild([] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(member.ok());
  auto fdinfo = ReadFileAt(Cwd(), Cat("/proc/self/fdinfo/", member->pidfd().get()), 4096);
  std::string pid = fdinfo->substr(fdinfo->find("Pid:\t") + 5);
  UniqueFd dir = *OpenAt(Cwd(), given.path(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(WriteCgroupFile(dir, "cgroup.procs", pid.substr(0, pid.find('\n'))).ok());
  auto host = *CgroupHost::Find(given.path());
  auto cgroup = Cgroup::Create(host, Cat(RandomId(8), ".test"), {.memory_bytes = 64 << 20});
  ASSERT_FALSE(cgroup.ok());
  EXPECT_THAT(cgroup.error().message(), testing::HasSubstr("processes of its own"));
  EXPECT_THAT(cgroup.error().remedy(), testing::HasSubstr("cgroup.procs"));
  EXPECT_FALSE(*FindAt(dir, "microsandbox"));
  EXPECT_TRUE(member->Signal(SIGKILL).ok());
  EXPECT_TRUE(member->Wait(Deadline::After(std::chrono::seconds(5))).ok());
}

// Version 1 has a door for threads alone, which would leave the others behind.
TEST(LeaveCallersCgroup, TakesEveryThreadAlong) {
  auto plain = Plain();
  if (!plain) GTEST_SKIP() << "cgroups are not made by plain directories here";
  Delegated caller(*plain);
  auto child = ForkChild([&] {
    UniqueFd dir = *OpenAt(Cwd(), caller.path(), O_RDONLY | O_DIRECTORY);
    if (!WriteCgroupFile(dir, "cgroup.procs", "0")) return 1;
    auto wait = *MakePipe();
    std::thread other([&] {
      char none;
      [[maybe_unused]] ssize_t ignored = ::read(wait.read.get(), &none, 1);
    });
    bool left = LeaveCallersCgroup(*plain).ok();
    size_t threads = 0, elsewhere = 0;
    UniqueFd tasks = *OpenAt(Cwd(), "/proc/self/task", O_RDONLY | O_DIRECTORY);
    auto names = *ListDirectory(tasks);
    for (const std::string& thread : names) {
      auto now = ReadFileAt(Cwd(), Cat("/proc/self/task/", thread, "/cgroup"), 1 << 16);
      threads++;
      if (!now || CgroupPathIn(plain->hierarchies[0], *now) != "/microsandbox/supervisors")
        elsewhere++;
    }
    wait.write.Reset();
    other.join();
    // ThreadSanitizer has one of its own.
    return left && threads >= 2 && elsewhere == 0 ? 42 : 2;
  });
  ASSERT_TRUE(child.ok());
  auto status = child->Wait(Deadline::After(std::chrono::seconds(20)));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(*status, (ExitStatus{false, 42}));
}

TEST(LeaveCallersCgroup, StaysAtTheRootAndLeavesEverythingElse) {
  auto plain = Plain();
  if (!plain) GTEST_SKIP() << "cgroups are not made by plain directories here";
  Delegated caller(*plain);
  auto child = ForkChild([&] {
    // Only in the first hierarchy is it anywhere but where it began.
    UniqueFd dir = *OpenAt(Cwd(), caller.path(), O_RDONLY | O_DIRECTORY);
    if (!WriteCgroupFile(dir, "cgroup.procs", "0") || !LeaveCallersCgroup(*plain)) return 1;
    auto now = ReadFileAt(Cwd(), "/proc/self/cgroup", 1 << 16);
    if (!now) return 2;
    if (CgroupPathIn(plain->hierarchies[0], *now) != "/microsandbox/supervisors") return 3;
    for (const auto& hierarchy : plain->hierarchies) {
      std::string place = CgroupPathIn(hierarchy, *now);
      if (place != "/" && place != "/microsandbox/supervisors") return 4;
    }
    return 42;
  });
  ASSERT_TRUE(child.ok());
  auto status = child->Wait(Deadline::After(std::chrono::seconds(20)));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(*status, (ExitStatus{false, 42}));
}

}  // namespace
}  // namespace msb::sys
