// SPDX-License-Identifier: Apache-2.0
// Sandboxes around small programs of the host: how they end, and that a failure at any step leaves
// nothing.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "jail/box/box.h"
#include "jail/box/call_policy.h"
#include "jail/box/policy.h"
#include "jail/box/steps.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/seccomp.h"

namespace msb::box {
namespace {

using testing::HasSubstr;

Spec Shell(const std::string& script) {
  Spec spec;
  spec.binds = {{.source = "/usr", .target = "/usr"},
                {.source = "/bin", .target = "/bin"},
                {.source = "/lib", .target = "/lib"}};
  spec.hostname = "test";
  spec.argv = {"/bin/sh", "-c", script};
  spec.environment = {"PATH=/bin:/usr/bin"};
  spec.capabilities = kDefaultCapabilities;
  spec.filter = &kDefaultFilter;
  return spec;
}

std::pair<size_t, std::string> Possessions() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) count++;
  ::closedir(dir);
  return {count, *sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", 1 << 22)};
}

bool HasChildren() { return ::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD; }

std::string ReadAllOf(const UniqueFd& fd) {
  (void)sys::SetNonBlocking(fd, false);
  return *sys::ReadAll(fd, 1 << 20);
}

Exit RunBox(const Spec& spec) {
  auto running = Start(spec);
  EXPECT_TRUE(running.ok()) << running.error().message();
  if (!running) return {Exit::How::kKilledWithJail};
  return *Reap(*running);
}

TEST(Box, TellsHowTheCommandEnded) {
  auto ended = RunBox(Shell("exit 7"));
  EXPECT_EQ(ended.how, Exit::How::kExited);
  EXPECT_EQ(ended.value, 7);
  ended = RunBox(Shell("kill -TERM $$"));
  EXPECT_EQ(ended.how, Exit::How::kSignaled);
  EXPECT_EQ(ended.value, SIGTERM);
}

TEST(Box, EndsWithTheCommandWhateverElseRuns) {
  auto pipe = *sys::MakePipe();
  Spec spec = Shell("sleep 1000 & setsid sleep 1000 & echo $!");
  spec.streams[1] = pipe.write.get();
  EXPECT_EQ(RunBox(spec).value, 0);
  pipe.write.Reset();
  // End of file: nobody holds the other end any more.
  EXPECT_NE(ReadAllOf(pipe.read), "");
}

TEST(Box, PassesSignalsOnToTheCommandsGroup) {
  auto pipe = *sys::MakePipe();
  Spec spec = Shell("trap 'exit 3' USR1; echo ready; while :; do sleep 0.01; done");
  spec.streams[1] = pipe.write.get();
  auto running = *Start(spec);
  pollfd ready{pipe.read.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  ASSERT_TRUE(Signal(running, SIGUSR1).ok());
  EXPECT_EQ(Reap(running)->value, 3);
}

TEST(Box, DiesWithTheLeash) {
  auto running = *Start(Shell("sleep 1000"));
  running.leash.Reset();
  EXPECT_EQ(Reap(running)->how, Exit::How::kKilledWithJail);
  auto other = *Start(Shell("sleep 1000"));
  Kill(other);
  EXPECT_EQ(Reap(other)->how, Exit::How::kKilledWithJail);
}

// In a process of its own, which is killed once the command has said "up": then nobody is left who
// holds the other side of its stdout.
void ExpectDiesWithItsParent(Spec spec) {
  auto pipe = *sys::MakePipe();
  pid_t parent = ::fork();
  if (parent == 0) {
    spec.streams[1] = pipe.write.get();
    auto running = Start(spec);
    ::pause();
  }
  pipe.write.Reset();
  pollfd ready{pipe.read.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  EXPECT_EQ(ReadAllOf(pipe.read), "up\n");
}

TEST(Box, DiesWithItsParent) { ExpectDiesWithItsParent(Shell("echo up; sleep 1000")); }

std::string NamespaceOf(const char* kind) {
  return *sys::ReadLinkAt(sys::Cwd(), Cat("/proc/self/ns/", kind));
}

TEST(Box, ACommandCanBeTheInit) {
  auto pipe = *sys::MakePipe();
  Spec spec = Shell("echo $$; exec readlink /proc/self/ns/time /proc/self/ns/pid");
  spec.command_is_init = true;
  spec.streams[1] = pipe.write.get();
  auto ended = RunBox(spec);
  EXPECT_EQ(ended.how, Exit::How::kExited);
  EXPECT_EQ(ended.value, 0);
  pipe.write.Reset();
  auto lines = Split(ReadAllOf(pipe.read), '\n');
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "1");
  // No fork puts it there.
  EXPECT_NE(lines[1], NamespaceOf("time"));
  EXPECT_NE(lines[2], NamespaceOf("pid"));
  spec = Shell("kill -9 $$; exit 7");
  spec.command_is_init = true;
  EXPECT_EQ(RunBox(spec).value, 7) << "from inside nobody kills the first process";
}

TEST(Box, ACommandThatIsTheInitIsBehindTheSameWalls) {
  auto pipe = *sys::MakePipe();
  Spec spec = Shell("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status");
  spec.streams[1] = pipe.write.get();
  ASSERT_EQ(RunBox(spec).value, 0);
  spec.command_is_init = true;
  ASSERT_EQ(RunBox(spec).value, 0);
  pipe.write.Reset();
  auto lines = Split(ReadAllOf(pipe.read), '\n');
  ASSERT_EQ(lines.size(), 7u);
  for (size_t i = 0; i < 3; i++) EXPECT_EQ(lines[i], lines[i + 3]);
}

TEST(Box, ACommandThatIsTheInitDiesWithItsParent) {
  Spec family = Shell("echo up; sleep 1000 & sleep 1000");
  family.command_is_init = true;
  ExpectDiesWithItsParent(std::move(family));
  Spec spec = Shell("sleep 1000");
  spec.command_is_init = true;
  auto running = *Start(spec);
  Kill(running);
  auto ended = *Reap(running);
  EXPECT_EQ(ended.how, Exit::How::kSignaled);
  EXPECT_EQ(ended.value, SIGKILL);
}

TEST(Box, WhatCannotBeExecutedIsToldApart) {
  Spec spec = Shell("");
  spec.argv = {"nosuch"};
  auto running = *Start(spec);
  ASSERT_TRUE(running.exec_error.has_value());
  EXPECT_EQ(running.exec_error->code(), Code::kNotFound);
  (void)Reap(running);
  spec.argv = {"/usr"};
  running = *Start(spec);
  ASSERT_TRUE(running.exec_error.has_value());
  EXPECT_EQ(running.exec_error->code(), Code::kPermissionDenied);
  (void)Reap(running);
}

TEST(Box, BadSpecsAreNamed) {
  Spec spec = Shell("exit 0");
  spec.keep_fds = {190};
  EXPECT_THAT(Start(spec).error().message(), HasSubstr("kept descriptor 190"));
  spec = Shell("exit 0");
  spec.binds.push_back({.source = "/nosuch", .target = "/x"});
  EXPECT_THAT(Start(spec).error().message(), HasSubstr("/nosuch"));
  spec = Shell("exit 0");
  spec.directory = "/nosuch";
  EXPECT_THAT(Start(spec).error().message(), HasSubstr("change to directory /nosuch"));
  spec = Shell("exit 0");
  spec.argv.clear();
  EXPECT_EQ(Start(spec).error().code(), Code::kInvalidArgument);
}

TEST(Box, AFailureAtAnyStepIsNamedAndLeavesNothing) {
  Spec spec = Shell("exit 0");
  spec.memories = {{.target = "/memory"}};
  spec.limits = {{RLIMIT_CORE, {0, 0}}};
  spec.uid = ::geteuid() == 0 ? 1000 : 0;
  spec.read_only = true;
  spec.terminal = winsize{24, 80, 0, 0};
  ASSERT_EQ(RunBox(spec).value, 0);
  auto before = Possessions();
  for (int i = 0; i < static_cast<int>(Step::kCount); i++) {
    auto step = static_cast<Step>(i);
    // Not of this spec: no tree below it, no cgroup, no user of another number.
    bool root_only = step == Step::kUser && ::geteuid() != 0;
    if (step == Step::kOverlay || step == Step::kRootTree || step == Step::kExec ||
        step == Step::kEnterCgroup || root_only)
      continue;
    auto running = Start(spec, step);
    EXPECT_FALSE(running.ok()) << StepName(step);
    if (running.ok()) {
      Kill(*running);
      (void)Reap(*running);
      continue;
    }
    EXPECT_THAT(running.error().message(), HasSubstr(std::string(StepName(step))));
    EXPECT_EQ(running.error().sys_errno(), EPERM);
    EXPECT_FALSE(HasChildren()) << StepName(step);
  }
  EXPECT_EQ(Possessions(), before);
}

// Answers what the sandbox's filter asks until the sandbox has ended; the calls' numbers.
std::vector<uint32_t> AnswerAll(Running& running, int error) {
  std::vector<uint32_t> asked;
  for (;;) {
    pollfd waits[] = {{running.listener.get(), POLLIN, 0}, {running.pidfd.get(), POLLIN, 0}};
    EXPECT_GT(::poll(waits, 2, 10'000), 0);
    if ((waits[0].revents & POLLIN) == 0) break;
    auto call = *sys::ReceiveAskedCall(running.listener);
    if (!call) continue;
    asked.push_back(call->number);
    EXPECT_TRUE(sys::AskedCallWaits(running.listener, call->id));
    EXPECT_TRUE(sys::RefuseAskedCall(running.listener, call->id, error).ok());
  }
  return asked;
}

TEST(Box, AsksAboutCallsThatItRefuses) {
  auto policy = *CallPolicy::Create({{.allow = false, .call = "uname"}});
  auto code = *policy.Compile(OnRefusal::kAsk);
  jail::Filter filter = code.View();
  auto pipe = *sys::MakePipe();
  Spec spec = Shell("ls /proc/self/fd; uname && exit 1; exit 3");
  spec.streams[1] = pipe.write.get();
  spec.filter = &filter;
  spec.on_refusal = OnRefusal::kAsk;
  auto running = *Start(spec);
  EXPECT_THAT(running.facts.walls, testing::Contains("seccomp"));
  EXPECT_THAT(AnswerAll(running, EPERM),
              testing::Contains(static_cast<uint32_t>(jail::SyscallNumber("uname"))));
  EXPECT_EQ(Reap(running)->value, 3);
  pipe.write.Reset();
  // Its own descriptors and the directory that it lists: not the one that it asks by.
  EXPECT_EQ(ReadAllOf(pipe.read), "0\n1\n2\n3\n");
}

TEST(Box, WhoAsksAndIsNotAnsweredIsRefused) {
  auto policy = *CallPolicy::Create({{.allow = false, .call = "uname"}});
  auto code = *policy.Compile(OnRefusal::kLearn);
  jail::Filter filter = code.View();
  Spec spec = Shell("uname && exit 1; exit 3");
  spec.filter = &filter;
  spec.on_refusal = OnRefusal::kLearn;
  auto running = *Start(spec);
  EXPECT_THAT(running.facts.walls, testing::Not(testing::Contains("seccomp")));
  running.listener.Reset();
  EXPECT_EQ(Reap(running)->value, 3);
}

TEST(Box, AFailureOfACommandThatIsTheInitIsNamedAndLeavesNothing) {
  Spec spec = Shell("exit 0");
  spec.command_is_init = true;
  auto before = Possessions();
  for (Step step : {Step::kTimeNamespace, Step::kSession, Step::kInitConfine, Step::kSeccomp}) {
    auto running = Start(spec, step);
    ASSERT_FALSE(running.ok()) << StepName(step);
    EXPECT_THAT(running.error().message(), HasSubstr(std::string(StepName(step))));
    EXPECT_FALSE(HasChildren()) << StepName(step);
  }
  spec.argv = {"nosuch"};
  {
    auto running = *Start(spec);
    EXPECT_TRUE(running.exec_error.has_value());
    (void)Reap(running);
  }
  EXPECT_EQ(Possessions(), before);
}

TEST(Box, NamesWhatIsInForce) {
  auto running = *Start(Shell("exit 0"));
  EXPECT_THAT(running.facts.walls,
              testing::IsSupersetOf({"user namespace", "network namespace", "pid namespace",
                                     "seccomp", "no_new_privs"}));
  EXPECT_THAT(running.facts.limits, testing::Contains("memory: none"));
  EXPECT_EQ(Reap(running)->value, 0);
}

}  // namespace
}  // namespace msb::box
