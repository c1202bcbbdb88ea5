// SPDX-License-Identifier: Apache-2.0
// The same questions about a process in the jail and about one that nobody has confined: the
// answers differ in every wall, or the reader repeats promises.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "jail/jail.h"
#include "jail/process_walls.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/process.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::optional<uint64_t> SoftLimit(const ProcessWalls& walls, std::string_view name) {
  for (const ProcessLimit& limit : *walls.limits)
    if (limit.name == name) return limit.soft;
  return std::nullopt;
}

// A child that stands still; killed by its destructor.
sys::Child Idle() {
  auto ready = *sys::MakePipe();
  auto child = sys::ForkChild([&] {
    if (::write(ready.write.get(), "r", 1) != 1) return 1;
    ::pause();
    return 0;
  });
  EXPECT_TRUE(child.ok());
  char byte;
  EXPECT_EQ(::read(ready.read.get(), &byte, 1), 1);
  return *std::move(child);
}

// Beneath this process: the jail's init, and the program in it.
std::vector<pid_t> Beneath(size_t limit = 16) {
  auto found = ListDescendants(::getpid(), limit);
  EXPECT_TRUE(found.ok()) << found.error().message();
  return found ? *found : std::vector<pid_t>();
}

TEST(ProcessWalls, StandAroundAJailedProcess) {
  JailSpec spec;
  spec.name = "test";
  spec.program = "/bin/sleep";
  spec.argv = {"sleep", "1000"};
  spec.filter = &kQemuFilter;
  spec.limits.open_files = 77;
  auto jailed = StartJailed(spec);
  ASSERT_TRUE(jailed.ok()) << jailed.error().message();
  auto pids = Beneath();
  ASSERT_EQ(pids.size(), 2u);
  auto own = *ReadOwnNamespaces();
  for (pid_t pid : pids) {
    auto walls = ReadProcessWalls(pid);
    ASSERT_TRUE(walls.ok()) << walls.error().message();
    bool program = walls->parent != ::getpid();  // The other one is the init.
    ASSERT_EQ(walls->threads.size(), 1u);
    const TaskStatus& status = walls->threads[0].status;
    if (program) {
      uint32_t uid = jailed->facts.uid;
      EXPECT_EQ(status.uids, (TaskStatus::Ids{uid, uid, uid, uid}));
    }
    for (auto set :
         {status.inheritable, status.permitted, status.effective, status.bounding, status.ambient})
      EXPECT_EQ(set, 0u);
    EXPECT_EQ(status.no_new_privileges, 1u);
    EXPECT_EQ(status.seccomp_mode, 2u);
    EXPECT_GE(status.seccomp_filters, 1u);
    ASSERT_TRUE(walls->namespaces.ok()) << walls->namespaces.error().message();
    for (const char* kind : {"mnt", "pid", "net", "ipc", "uts", "cgroup"})
      EXPECT_NE(walls->namespaces->at(kind), own.at(kind)) << kind;
    ASSERT_TRUE(walls->mounts.ok());
    EXPECT_TRUE(std::all_of(walls->mounts->begin(), walls->mounts->end(), [](const auto& mount) {
      return mount.read_only && mount.no_setuid && mount.no_devices;
    }));
    ASSERT_TRUE(walls->root.ok()) << walls->root.error().message();
    EXPECT_THAT(*walls->root, testing::Not(Contains("proc")));
    if (!program) continue;
    EXPECT_EQ(SoftLimit(*walls, "Max open files"), 77u);
    EXPECT_EQ(SoftLimit(*walls, "Max core file size"), 0u);
    EXPECT_THAT(*walls->descriptors, ElementsAre(Pair("/dev/null", 2), Pair("pipe", 1)));
  }
  KillJailed(*jailed);
  EXPECT_TRUE(ReapJailed(*jailed).ok());
}

TEST(ProcessWalls, DoNotStandAroundAnyOtherProcess) {
  auto child = Idle();
  auto pids = Beneath();
  ASSERT_EQ(pids.size(), 1u);
  auto walls = ReadProcessWalls(pids[0]);
  ASSERT_TRUE(walls.ok()) << walls.error().message();
  EXPECT_EQ(walls->parent, ::getpid());
  const TaskStatus& status = walls->threads.at(0).status;
  EXPECT_EQ(status.uids->at(1), ::geteuid());
  auto own = ParseTaskStatus(*sys::ReadFileAt(sys::Cwd(), "/proc/self/status", 1 << 16));
  EXPECT_EQ(status.effective, own->effective);
  EXPECT_EQ(status.bounding, own->bounding);
  EXPECT_NE(status.bounding, 0u);
  EXPECT_EQ(status.seccomp_filters, own->seccomp_filters);
  EXPECT_EQ(*walls->namespaces, *ReadOwnNamespaces());
  EXPECT_THAT(*walls->root, Contains("proc"));
  EXPECT_FALSE(std::all_of(walls->mounts->begin(), walls->mounts->end(),
                           [](const auto& mount) { return mount.read_only; }));
}

TEST(ProcessWalls, AreReadOfEachThreadUnderItsName) {
  auto ready = *sys::MakePipe();
  auto child = sys::ForkChild([&] {
    // One wall more than its parent has, and a name that tries to be a line of its own.
    if (!sys::SetNoNewPrivileges()) return 1;
    sys::NameThread("a\nSeccomp:\t2");
    if (::write(ready.write.get(), "r", 1) != 1) return 1;
    ::pause();
    return 0;
  });
  ASSERT_TRUE(child.ok());
  char byte;
  ASSERT_EQ(::read(ready.read.get(), &byte, 1), 1);
  auto walls = ReadProcessWalls(Beneath().at(0));
  ASSERT_TRUE(walls.ok()) << walls.error().message();
  EXPECT_THAT(walls->name, HasSubstr("a\\nSeccomp"));
  EXPECT_EQ(walls->threads.at(0).status.no_new_privileges, 1u);
  EXPECT_NE(walls->threads.at(0).status.seccomp_mode, std::nullopt);
}

TEST(ProcessWalls, OfAProcessThatHasEndedAreAnError) {
  pid_t pid = 0;
  {
    auto child = Idle();
    pid = Beneath().at(0);
  }
  auto walls = ReadProcessWalls(pid);
  ASSERT_FALSE(walls.ok());
  EXPECT_EQ(walls.error().code(), Code::kNotFound);
}

TEST(Descendants, AreNoMoreThanWereAskedFor) {
  auto one = Idle();
  auto two = Idle();
  EXPECT_EQ(Beneath().size(), 2u);
  EXPECT_EQ(Beneath(1).size(), 1u);
}

TEST(AllowedCalls, AreNamedOnceAndWithTheirCondition) {
  auto calls = AllowedCalls(VmmPolicies().back());
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  EXPECT_EQ(std::adjacent_find(calls.begin(), calls.end()), calls.end());
  EXPECT_THAT(calls, Contains("clock_gettime"));
  EXPECT_THAT(calls, testing::Not(Contains("pread64")));
#if !defined(MSB_SANITIZED)
  EXPECT_THAT(calls, Contains("ioctl(...)"));
#endif
}

}  // namespace
}  // namespace msb::jail
