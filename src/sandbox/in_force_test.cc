// SPDX-License-Identifier: Apache-2.0
// Promises beside answers of the kernel, made by hand: whatever is not as promised differs, and
// what nobody can see is never claimed.

#include "sandbox/in_force.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "json/value.h"

namespace msb::sandbox {
namespace {

using testing::HasSubstr;

constexpr uint32_t kUid = 70000;
const jail::Namespaces kHost = {{"mnt", "mnt:[1]"}, {"net", "net:[2]"}, {"user", "user:[3]"}};

jail::ThreadWalls Thread(pid_t tid, std::string name) {
  jail::TaskStatus status;
  status.name = std::move(name);
  status.uids = status.gids = jail::TaskStatus::Ids{kUid, kUid, kUid, kUid};
  status.groups.emplace();
  status.inheritable = status.permitted = status.effective = 0;
  status.bounding = status.ambient = 0;
  status.no_new_privileges = 1;
  status.seccomp_mode = 2;
  status.seccomp_filters = 3;
  return {tid, status};
}

// msb-vmm as it should be.
jail::ProcessWalls Vmm() {
  return {
      .pid = 10,
      .name = "msb-vmm",
      .parent = 9,
      .threads = {Thread(10, "250"), Thread(11, "blk"), Thread(12, "vcpu0")},
      .namespaces = jail::Namespaces{{"mnt", "mnt:[7]"}, {"net", "net:[8]"}, {"user", "user:[9]"}},
      .root = std::vector<std::string>{"usr"},
      .mounts = std::vector<jail::ProcessMount>{{"/", "tmpfs", true, true, true}},
      .limits = std::vector<jail::ProcessLimit>{{"Max processes", 9, 9, "processes"},
                                                {"Max address space", {}, {}, "bytes"}},
      .descriptors = std::map<std::string, size_t>{{"socket", 3}}};
}

Expected Promise(std::vector<std::string> walls) {
  return {.walls = std::move(walls), .uid = kUid};
}

// Of one promised wall.
Finding Compare(std::string wall, const jail::ProcessWalls& walls) {
  return CompareWalls(Promise({std::move(wall)}), walls, {&kHost}).at(0);
}

const std::vector<std::string> kVisible = {"ids",
                                           "mount namespace",
                                           "network namespace",
                                           "user namespace",
                                           "no capabilities",
                                           "no_new_privs",
                                           "read-only root",
                                           "seccomp"};

TEST(CompareWalls, FindsAllOfThemWhereAllAre) {
  for (const Finding& finding : CompareWalls(Promise(kVisible), Vmm(), {&kHost}))
    EXPECT_EQ(finding.verdict, Verdict::kHolds) << finding.wall << ": " << finding.says;
}

TEST(CompareWalls, ClaimsNothingThatNobodyCanSee) {
  for (const char* wall : {"landlock", "no descriptors but its own", "a wall of another version"})
    EXPECT_EQ(Compare(wall, Vmm()).verdict, Verdict::kUnknown) << wall;
  auto hidden = Vmm();
  hidden.namespaces = Error(Code::kPermissionDenied, "denied");
  hidden.mounts = Error(Code::kPermissionDenied, "denied");
  for (const char* wall : {"mount namespace", "read-only root"}) {
    auto finding = Compare(wall, hidden);
    EXPECT_EQ(finding.verdict, Verdict::kUnknown);
    EXPECT_EQ(finding.says, "denied");
  }
  // No other namespaces to compare with: apart from what?
  EXPECT_EQ(CompareWalls(Promise({"mount namespace"}), Vmm(), {}).at(0).verdict, Verdict::kUnknown);
}

// One thread that is not as the others is enough, whatever its place.
TEST(CompareWalls, SeesTheOneThreadThatHasAWallLess) {
  struct Case {
    const char* wall;
    std::function<void(jail::TaskStatus&)> break_it;
    const char* says;
  };
  const Case kCases[] = {
      {"ids", [](auto& s) { (*s.uids)[3] = 0; }, "uid"},
      {"ids", [](auto& s) { (*s.gids)[2] = 0; }, "gid"},
      {"ids", [](auto& s) { s.groups->push_back(27); }, "groups"},
      {"no capabilities", [](auto& s) { s.effective = 1; }, "effective"},
      {"no capabilities", [](auto& s) { s.bounding = 1; }, "bounding"},
      {"no capabilities", [](auto& s) { s.ambient = 1ull << 40; }, "ambient"},
      {"no_new_privs", [](auto& s) { s.no_new_privileges = 0; }, "not set"},
      {"seccomp", [](auto& s) { s.seccomp_mode = 0; }, "mode 0"},
      {"seccomp", [](auto& s) { s.seccomp_filters = 2; }, "2 of 3 filters"},
  };
  for (const Case& one : kCases) {
    for (size_t i = 0; i < 3; i++) {
      auto walls = Vmm();
      one.break_it(walls.threads[i].status);
      auto finding = Compare(one.wall, walls);
      EXPECT_EQ(finding.verdict, Verdict::kDiffers) << one.wall << ": " << finding.says;
      EXPECT_THAT(finding.says, HasSubstr(one.says));
      EXPECT_THAT(finding.says, HasSubstr(walls.threads[i].status.name));
    }
  }
}

TEST(CompareWalls, TakesNoSilenceOfTheKernelForAWall) {
  auto walls = Vmm();
  jail::TaskStatus silent;
  silent.name = "vcpu0";
  walls.threads[2].status = silent;
  for (const char* wall : {"ids", "no capabilities", "no_new_privs", "seccomp"})
    EXPECT_EQ(Compare(wall, walls).verdict, Verdict::kUnknown) << wall;
}

TEST(CompareWalls, SeesSharedNamespacesAndMountsThatCanBeWritten) {
  auto walls = Vmm();
  walls.namespaces->at("net") = kHost.at("net");
  EXPECT_EQ(Compare("network namespace", walls).verdict, Verdict::kDiffers);
  walls.namespaces->erase("net");
  EXPECT_EQ(Compare("network namespace", walls).verdict, Verdict::kDiffers);
  for (jail::ProcessMount mount : {jail::ProcessMount{"/x", "ext4", false, true, true},
                                   jail::ProcessMount{"/x", "ext4", true, false, true},
                                   jail::ProcessMount{"/x", "ext4", true, true, false},
                                   jail::ProcessMount{"/proc", "proc", true, true, true}}) {
    walls = Vmm();
    walls.mounts->push_back(mount);
    EXPECT_EQ(Compare("read-only root", walls).verdict, Verdict::kDiffers);
  }
  walls.mounts->clear();
  EXPECT_EQ(Compare("read-only root", walls).verdict, Verdict::kDiffers);
  walls = Vmm();
  walls.descriptors->emplace("/dev/kvm", 1);
  EXPECT_EQ(Compare("no descriptors but its own", walls).verdict, Verdict::kDiffers);
}

TEST(CompareWalls, CountsTheThreadsOfAVmm) {
  auto threads = [](const jail::ProcessWalls& walls) {
    return CompareWalls(Promise({}), walls, {&kHost}).at(0);
  };
  EXPECT_EQ(threads(Vmm()).verdict, Verdict::kHolds);
  auto walls = Vmm();
  walls.threads.push_back(Thread(13, "kvm-nx-lpage-re"));
  EXPECT_EQ(threads(walls).verdict, Verdict::kHolds);
  walls.threads.push_back(Thread(14, "vcpu"));
  EXPECT_EQ(threads(walls).verdict, Verdict::kDiffers);
  walls = Vmm();
  walls.threads.push_back(Thread(13, "vcpu1"));
  EXPECT_EQ(threads(walls).verdict, Verdict::kDiffers);
  walls = Vmm();
  walls.threads.pop_back();
  EXPECT_THAT(threads(walls).says, HasSubstr("0 of 1 processors"));
}

TEST(PolicyOfThread, GoesByTheClassOfTheThread) {
  auto walls = Vmm();
  auto policy = [&](size_t i) {
    return PolicyOfThread(Part::kMachine, Isolation::kVm, walls, walls.threads[i]);
  };
  EXPECT_EQ(policy(0), "vmm devices");
  EXPECT_EQ(policy(1), "vmm worker");
  EXPECT_EQ(policy(2), "vmm processor");
  for (const char* name : {"vcpu", "vcpux", "vcpu-1", "blk2", "", "vcpu0 "}) {
    walls.threads[2].status.name = name;
    EXPECT_EQ(policy(2), "") << name;
  }
  for (Part part : {Part::kMachine, Part::kProgram})
    EXPECT_EQ(PolicyOfThread(part, Isolation::kProcess, walls, walls.threads[0]),
              "process sandbox");
  for (std::string_view name :
       {"supervisor", "jail init", "qemu", "vmm devices", "vmm worker", "process sandbox"})
    EXPECT_EQ(FindPolicy(name).name, name);
}

TEST(CompareLimits, FindsThemWhereTheyWerePromised) {
  std::vector<CgroupInForce> cgroups;
  cgroups.push_back({"/a", true, {{"memory.max", "4096"}, {"cpu.max", "max 100000"}}});
  cgroups.push_back({"/b", false, {{"pids.max", "9"}}});
  auto verdict = [&](const char* limit) {
    return CompareLimits({limit}, Vmm(), cgroups).at(0).verdict;
  };
  EXPECT_EQ(verdict("memory: cgroup"), Verdict::kHolds);
  EXPECT_EQ(verdict("cpu: cgroup"), Verdict::kDiffers);                 // "max" is no limit.
  EXPECT_EQ(verdict("pids: cgroup, RLIMIT_NPROC"), Verdict::kDiffers);  // Of another's cgroup.
  EXPECT_EQ(verdict("pids: RLIMIT_NPROC"), Verdict::kHolds);
  EXPECT_EQ(verdict("memory: RLIMIT_AS"), Verdict::kDiffers);
  EXPECT_EQ(verdict("cpu: none"), Verdict::kUnknown);
  cgroups[0].limits = {{"memory.limit_in_bytes", "9223372036854771712"}};
  EXPECT_EQ(verdict("memory: cgroup"), Verdict::kDiffers);
}

TEST(InForceJson, SaysUnknownInThePlaceOfWhatCouldNotBeRead) {
  InForce in_force;
  auto walls = Vmm();
  walls.root = Error(Code::kPermissionDenied, "open root: \"no\"");
  walls.threads[1].status.seccomp_filters.reset();
  in_force.processes.push_back(
      {Part::kMachine, std::move(walls), {"vmm devices", "vmm worker", ""}, {}});
  in_force.cgroups.push_back({"/x", Error(Code::kNotFound, "gone"), {}});
  std::string text = ToJson(in_force);
  ASSERT_TRUE(json::Document::Parse(text).ok()) << text;
  EXPECT_THAT(text, HasSubstr(R"("root":{"unknown":"open root: \"no\""})"));
  EXPECT_THAT(text, HasSubstr(R"("filters":{"unknown":"this kernel does not say"})"));
  EXPECT_THAT(text, HasSubstr(R"("holds_machine":{"unknown":"gone"})"));
  EXPECT_THAT(text, HasSubstr(R"("name":"vcpu0","policy":null)"));
  EXPECT_THAT(text, HasSubstr(R"("name":"vmm worker","otherwise":"kills the process")"));
}

}  // namespace
}  // namespace msb::sandbox
