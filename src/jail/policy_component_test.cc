// SPDX-License-Identifier: Apache-2.0
// The policies in force: what a process still can do, and what kills it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "jail/policies.h"
#include "jail/test_calls.h"

namespace msb::jail {
namespace {

TEST(EveryPolicy, KillsWhatOnlyAnAttackerWants) {
  auto check = [](const Policy& policy) {
    for (const char* name : kOnlyAnAttackerWants)
      EXPECT_EQ(Calling(policy, name), kKilled) << policy.name << " " << name;
  };
  for (const Policy& policy : SmallProgramPolicies()) check(policy);
  for (const Policy& policy : VmmPolicies()) check(policy);
}

TEST(SupervisorPolicy, KillsWhatASupervisorNeverDoes) {
  Policy policy = SmallProgramPolicies()[0];
  for (const char* name : {"clone3", "seccomp", "fchown", "mknodat", "symlinkat", "linkat"})
    EXPECT_EQ(Calling(policy, name), kKilled) << name;
#if !defined(MSB_SANITIZED)
  for (const char* name :
       {"kill", "tkill", "tgkill", "clone", "process_vm_readv", "ptrace", "personality"})
    EXPECT_EQ(Calling(policy, name), kKilled) << name;
#endif
}

TEST(SupervisorPolicy, LetsItWork) {
  EXPECT_EQ(Under(kSupervisorFilter,
                  [] {
                    int pipe_ends[2];
                    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return 1;
                    if (::write(pipe_ends[1], "x", 1) != 1) return 2;
                    struct flock lock {};
                    lock.l_type = F_WRLCK;
                    int file = ::memfd_create("x", 0);
                    if (::fcntl(file, F_OFD_SETLK, &lock) != 0) return 3;
                    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    return page == MAP_FAILED ? 4 : 0;
                  }),
            kFine);
}

#if !defined(MSB_SANITIZED)
TEST(SupervisorPolicy, KillsExecutableMemory) {
  EXPECT_EQ(Under(kSupervisorFilter,
                  [] {
                    ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                           0);
                    return 0;
                  }),
            kKilled);
}
#endif

#if !defined(MSB_SANITIZED)
TEST(UnpackerPolicy, AllowsThreadsButNoNamespaces) {
  EXPECT_EQ(Under(kUnpackerFilter, [] { return ::syscall(SYS_ptrace, 0, 0, 0, 0) == -1; }),
            kKilled);
  EXPECT_EQ(Under(kUnpackerFilter,
                  [] { return ::syscall(SYS_clone, CLONE_NEWUSER, 0, 0, 0, 0) == -1 ? 1 : 2; }),
            kKilled);
  EXPECT_EQ(Under(kUnpackerFilter,
                  [] { return ::syscall(SYS_clone3, 0, 0) == -1 && errno == ENOSYS ? 0 : 1; }),
            kFine);
}
#endif

#if !defined(MSB_SANITIZED)
TEST(InitPolicies, OnlyASandboxesPassesSignalsOn) {
  EXPECT_EQ(Calling(kJailInitFilter, SYS_kill), kKilled);
  EXPECT_EQ(Calling(kBoxInitFilter, SYS_kill), kFine);
  EXPECT_EQ(Calling(kBoxInitFilter, SYS_tgkill), kKilled);
}
#endif

// What it did not foresee answers as an older kernel does.
TEST(QemuPolicy, KillsWhatOnlyAnAttackerWants) {
  for (const char* name : {"execve",
                           "fork",
                           "vfork",
                           "socket",
                           "connect",
                           "bind",
                           "ptrace",
                           "kill",
                           "mount",
                           "unshare",
                           "setns",
                           "bpf",
                           "userfaultfd",
                           "perf_event_open",
                           "keyctl",
                           "pidfd_open",
                           "process_vm_readv",
                           "setresuid",
                           "capset",
                           "open_by_handle_at",
                           "splice",
                           "io_uring_enter"})
    EXPECT_EQ(Calling(QemuPolicy(), name), kKilled) << name;
}

TEST(QemuPolicy, KillsForksAndOtherDescriptorsOfExecveat) {
  EXPECT_EQ(Under(kQemuFilter, [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0; }),
            kKilled);
  char* none[] = {nullptr};
  EXPECT_EQ(Under(kQemuFilter,
                  [&] {
                    ::syscall(SYS_execveat, AT_FDCWD, "/bin/true", none, none, 0);
                    return 0;
                  }),
            kKilled);
}

TEST(QemuPolicy, AnswersUnknownCallsLikeAnOlderKernel) {
  EXPECT_EQ(Under(kQemuFilter, [] { return ::syscall(9999) == -1 && errno == ENOSYS ? 0 : 1; }),
            kFine);
  EXPECT_EQ(
      Under(kQemuFilter,
            [] { return ::syscall(SYS_io_uring_setup, 1, 0) == -1 && errno == ENOSYS ? 0 : 1; }),
      kFine);
}

#if defined(__x86_64__)
TEST(EveryPolicy, Kills32BitCalls) {
  for (const Filter* filter :
       {&kSupervisorFilter, &kUnpackerFilter, &kJailInitFilter, &kBoxInitFilter, &kQemuFilter,
        &kVmmStartFilter, &kVmmDeviceFilter, &kVmmWorkerFilter, &kVmmCpuFilter})
    EXPECT_EQ(Under(*filter,
                    [] {
                      int pid;
                      // int 0x80: number 20 is getpid of the 32-bit table, writev of ours.
                      asm volatile("int $0x80" : "=a"(pid) : "a"(20) : "memory");
                      return 0;
                    }),
              kKilled);
}
#endif

}  // namespace
}  // namespace msb::jail
