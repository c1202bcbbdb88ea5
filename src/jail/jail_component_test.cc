// SPDX-License-Identifier: Apache-2.0
// The jail around small programs: how they end, what they find, and that a failure at any step
// leaves nothing.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "jail/elf_needs.h"
#include "jail/jail.h"
#include "jail/jail_plan.h"
#include "jail/jail_steps.h"
#include "jail/policies.h"
#include "sys/cgroup.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/random.h"

namespace msb::jail {
namespace {

JailSpec Spec(std::vector<std::string> argv) {
  JailSpec spec;
  spec.name = "test";
  spec.program = argv.at(0);
  spec.argv = std::move(argv);
  spec.filter = &kQemuFilter;
  return spec;
}

JailSpec Shell(std::string script) { return Spec({"/bin/sh", "-c", std::move(script)}); }

// Descriptors and mounts of this process: what a failed start must not change.
std::pair<size_t, std::string> Possessions() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) count++;
  ::closedir(dir);
  return {count, *sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", 1 << 22)};
}

std::string ReadAllOf(const UniqueFd& fd) {
  (void)sys::SetNonBlocking(fd, false);
  return *sys::ReadAll(fd, 1 << 20);
}

JailExit RunJailed(const JailSpec& spec, std::string* said = nullptr) {
  auto started = StartJailed(spec);
  EXPECT_TRUE(started.ok()) << started.error().message();
  if (!started) return {JailExit::How::kKilledWithJail, -1};
  auto ended = ReapJailed(*started);
  EXPECT_TRUE(ended.ok());
  if (said != nullptr) *said = ReadAllOf(started->stderr_pipe);
  return *ended;
}

TEST(Jail, TellsTheExitCode) {
  auto ended = RunJailed(Shell("exit 7"));
  EXPECT_EQ(ended.how, JailExit::How::kExited);
  EXPECT_EQ(ended.value, 7);
}

TEST(Jail, TellsTheSignalOfAForbiddenCall) {
  auto ended = RunJailed(Shell("kill -9 $$"));
  EXPECT_EQ(ended.how, JailExit::How::kSignaled);
  EXPECT_EQ(ended.value, SIGSYS);
}

TEST(Jail, GivesDescriptorsUnderTheirNumbersAndStderrAsAPipe) {
  auto pipe = *sys::MakePipe();
  JailSpec spec = Shell("echo three >&3; echo error >&2; exec 4<&- 2>&-");
  spec.fds.push_back({pipe.write.get(), 3});
  std::string said;
  EXPECT_EQ(RunJailed(spec, &said).value, 0);
  pipe.write.Reset();
  EXPECT_EQ(ReadAllOf(pipe.read), "three\n");
  EXPECT_EQ(said, "error\n");
}

TEST(Jail, HasAnEmptyEnvironmentAndARootOfItsOwn) {
  std::string said;
  JailSpec spec = Shell("echo \"[$HOME$USER]\" /* >&2");
  spec.binds.push_back({.source = "/etc/hostname", .target = "/given"});
  RunJailed(spec, &said);
  EXPECT_EQ(said.substr(0, 2), "[]");
  EXPECT_THAT(said, testing::HasSubstr("/given"));
  for (const char* absent : {"/home", "/proc", "/sys", "/dev", "/root", "/tmp", "/var", "/run"})
    EXPECT_THAT(said, testing::Not(testing::HasSubstr(absent)));
}

TEST(Jail, StatesItsWallsAndIds) {
  auto started = StartJailed(Shell("exit 0"));
  ASSERT_TRUE(started.ok()) << started.error().message();
  EXPECT_THAT(started->facts.walls, testing::IsSupersetOf({"seccomp", "landlock", "no_new_privs",
                                                           "no capabilities", "pid namespace"}));
  EXPECT_NE(started->facts.uid, 0u);
  EXPECT_THAT(started->facts.limits, testing::Contains("pids: RLIMIT_NPROC"));
  EXPECT_TRUE(ReapJailed(*started).ok());
}

// Where this process may make one: on version 1 the init walks in by itself, on version 2 it is
// cloned into it.
std::optional<sys::Cgroup> MakeCgroup() {
  auto host = sys::CgroupHost::Find("");
  if (!host) return std::nullopt;
  auto made =
      sys::Cgroup::Create(*host, Cat(sys::RandomId(8), ".test"), {.memory_bytes = 64 << 20});
  if (!made) {
    EXPECT_EQ(made.error().code(), Code::kPermissionDenied) << made.error().message();
  }
  return made ? std::optional(*std::move(made)) : std::nullopt;
}

// A jail in a cgroup of its own, with a program that stays.
class JailInCgroup : public testing::Test {
 protected:
  void SetUp() override {
    cgroup_ = MakeCgroup();
    if (!cgroup_) GTEST_SKIP() << "no cgroup may be made here";
    JailSpec spec = Spec({"/bin/sleep", "1000"});
    spec.cgroup = &*cgroup_;
    auto started = StartJailed(spec);
    ASSERT_TRUE(started.ok()) << started.error().message();
    started_ = std::move(*started);
    ASSERT_FALSE(started_->facts.cgroups.empty());
  }
  void TearDown() override {
    if (started_) {
      KillJailed(*started_);
      EXPECT_TRUE(ReapJailed(*started_).ok());
    }
    if (cgroup_) {
      EXPECT_TRUE(cgroup_->Remove().ok());
    }
  }

  std::optional<sys::Cgroup> cgroup_;
  std::optional<JailedProcess> started_;
};

TEST_F(JailInCgroup, IsThereBeforeItsProgram) {
  for (const std::string& path : started_->facts.cgroups) {
    auto members = sys::ReadFileAt(sys::Cwd(), path + "/cgroup.procs", 1 << 16);
    ASSERT_TRUE(members.ok());
    EXPECT_EQ(std::count(members->begin(), members->end(), '\n'), 2) << path;  // Init and program.
  }
}

TEST_F(JailInCgroup, HasANamespaceThatBeginsThere) {
  auto members = sys::ReadFileAt(sys::Cwd(), started_->facts.cgroups.at(0) + "/cgroup.procs", 1024);
  ASSERT_TRUE(members.ok());
  std::string seen = Cat("/proc/", Split(*members, '\n').at(0), "/cgroup");
  auto inside = sys::ForkChild([&] {
    if (::setns(started_->pidfd.get(), CLONE_NEWCGROUP) != 0) return 1;
    auto text = sys::ReadFileAt(sys::Cwd(), seen, 1 << 16);
    if (!text || text->empty()) return 2;
    // As from any other place, it would be beneath or beside the root.
    for (const std::string& line : Split(*text, '\n'))
      if (!line.empty() && !line.ends_with(":/")) return 3;
    return 0;
  });
  ASSERT_TRUE(inside.ok());
  EXPECT_EQ(inside->Wait(Deadline::After(std::chrono::seconds(10)))->code, 0);
}

TEST(Jail, ThatCannotEnterItsCgroupIsRefused) {
  auto cgroup = MakeCgroup();
  if (!cgroup) GTEST_SKIP() << "no cgroup may be made here";
  if (cgroup->has_v1()) {
    for (JailStep step : {JailStep::kEnterCgroup, JailStep::kCgroupNamespace}) {
      JailSpec spec = Shell("exit 0");
      spec.cgroup = &*cgroup;
      spec.fail_at = step;
      auto started = StartJailed(spec);
      ASSERT_FALSE(started.ok());
      EXPECT_THAT(started.error().message(), testing::HasSubstr(std::string(StepName(step))));
    }
  }
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST(Jail, EndsWhenKilledAndWhenTheLeashIsLetGo) {
  for (bool leash : {false, true}) {
    auto started = StartJailed(Spec({"/bin/sleep", "1000"}));
    ASSERT_TRUE(started.ok()) << started.error().message();
    if (leash)
      started->leash.Reset();
    else
      KillJailed(*started);
    EXPECT_EQ(ReapJailed(*started)->how, JailExit::How::kKilledWithJail);
  }
}

TEST(Jail, TakesNoOrdersByItsLeash) {
  auto started = StartJailed(Spec({"/bin/sleep", "1000"}));
  ASSERT_TRUE(started.ok()) << started.error().message();
  char signal = SIGUSR1;
  ASSERT_EQ(::write(started->leash.get(), &signal, 1), 1);
  EXPECT_EQ(ReapJailed(*started)->how, JailExit::How::kKilledWithJail);
}

TEST(Jail, EndsWithItsSupervisor) {
  auto pipe = *sys::MakePipe();
  auto supervisor = sys::ForkChild([&] {
    JailSpec spec = Spec({"/bin/sleep", "1000"});
    spec.fds.push_back({pipe.write.get(), 3});
    auto started = StartJailed(spec);
    if (!started) return 1;
    if (::write(pipe.write.get(), "r", 1) != 1) return 2;
    ::pause();
    return 0;
  });
  ASSERT_TRUE(supervisor.ok());
  pipe.write.Reset();
  char byte;
  ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
  ASSERT_TRUE(supervisor->Signal(SIGKILL).ok());
  pollfd gone{pipe.read.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&gone, 1, 1000), 1);
  EXPECT_EQ(::read(pipe.read.get(), &byte, 1), 0);  // The last holder was in the jail.
}

TEST(Jail, RefusesAtEachStepByNameAndLeavesNothing) {
  JailSpec spec = Shell("exit 0");
  auto before = Possessions();
  size_t refused = 0;
  for (int step = 0; step < static_cast<int>(JailStep::kCount); step++) {
    spec.fail_at = static_cast<JailStep>(step);
    auto name = StepName(*spec.fail_at);
    SCOPED_TRACE(name);
    auto started = StartJailed(spec);
    bool for_users = *spec.fail_at == JailStep::kSetgroups || *spec.fail_at == JailStep::kUidMap ||
                     *spec.fail_at == JailStep::kGidMap;
    bool for_root = *spec.fail_at == JailStep::kSetIds;
    bool for_cgroups = *spec.fail_at == JailStep::kEnterCgroup;
    if (for_cgroups || (::geteuid() == 0 ? for_users : for_root)) {
      ASSERT_TRUE(started.ok());
      EXPECT_TRUE(ReapJailed(*started).ok());
      continue;
    }
    ASSERT_FALSE(started.ok());
    refused++;
    EXPECT_THAT(started.error().message(), testing::StartsWith("jail test: "));
    EXPECT_THAT(started.error().message(), testing::HasSubstr(std::string(name)));
    EXPECT_EQ(started.error().sys_errno(), EPERM);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
  EXPECT_GE(refused, 25u);
  EXPECT_EQ(Possessions(), before);
}

TEST(Jail, NamesTheSourceThatIsMissing) {
  JailSpec spec = Shell("exit 0");
  spec.binds.push_back({.source = "/no/such/file"});
  auto started = StartJailed(spec);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().message(), "jail test: find /no/such/file: No such file or directory");
}

TEST(Jail, NamesTheProgramThatCannotBeExecuted) {
  JailSpec spec = Shell("exit 0");
  auto files = FilesOfProgram("/bin/sh");
  ASSERT_TRUE(files.ok());
  for (const JailBind& bind : *files)
    if (bind.source.find("libc.so") != std::string::npos) spec.program = bind.source;
  spec.fail_at = JailStep::kExec;
  auto started = StartJailed(spec);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error().message(), testing::HasSubstr("execute " + spec.program));

  spec.program = "/etc/hostname";
  started = StartJailed(spec);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error().message(), testing::HasSubstr("/etc/hostname: not a usable ELF"));
}

TEST(Jail, RefusesNumbersThatAreItsOwn) {
  JailSpec spec = Shell("exit 0");
  spec.fds.push_back({0, kMaxProgramNumber + 1});
  EXPECT_FALSE(StartJailed(spec).ok());
  spec.fds = {{0, 5}, {1, 5}};
  auto twice = StartJailed(spec);
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().message(), "jail test: descriptor number 5 given twice");
}

TEST(Jail, NamesAFileThatItsIdCouldNotRead) {
  char path[] = "/tmp/msb-jail-XXXXXX";  // mkstemp makes it 0600.
  UniqueFd file(::mkstemp(path));
  JailSpec spec = Shell("exit 0");
  spec.binds.push_back({.source = path, .target = "/kernel"});
  auto started = StartJailed(spec);
  if (::geteuid() == 0) {
    ASSERT_FALSE(started.ok());
    EXPECT_THAT(started.error().message(), testing::HasSubstr("is not readable for others"));
    EXPECT_EQ(started.error().remedy(), std::string("chmod o+r ") + path);
  } else {
    ASSERT_TRUE(started.ok());
    EXPECT_TRUE(ReapJailed(*started).ok());
  }
  ::unlink(path);
}

}  // namespace
}  // namespace msb::jail
