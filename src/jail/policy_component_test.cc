// SPDX-License-Identifier: Apache-2.0
// The policies in force: what a process still can do, and what kills it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "jail/policies.h"
#include "sys/fork.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

// How a child ends that takes on `filter` and makes one call.
sys::ExitStatus Under(const Filter& filter, const std::function<int()>& body) {
  auto child = sys::ForkChild([&] {
    if (!sys::SetNoNewPrivileges().ok()) return 90;
    if (sys::RawInstallSeccompFilter(filter.code.data(), filter.length) != 0) return 91;
    ::syscall(SYS_exit_group, body());
    return 92;
  });
  EXPECT_TRUE(child.ok());
  auto status = child->Wait(Deadline::After(std::chrono::seconds(10)));
  EXPECT_TRUE(status.ok());
  return *status;
}

constexpr sys::ExitStatus kKilled{true, SIGSYS};
constexpr sys::ExitStatus kFine{false, 0};

TEST(SupervisorPolicy, KillsWhatASupervisorNeverDoes) {
  const char* kForbidden[] = {"execve",
                              "execveat",
                              "fork",
                              "vfork",
                              "clone3",
                              "socket",
                              "connect",
                              "bind",
                              "listen",
                              "mount",
                              "umount2",
                              "fsopen",
                              "open_tree",
                              "move_mount",
                              "unshare",
                              "setns",
                              "chroot",
                              "pivot_root",
                              "bpf",
                              "keyctl",
                              "userfaultfd",
                              "io_uring_setup",
                              "perf_event_open",
                              "process_vm_writev",
                              "pidfd_open",
                              "pidfd_getfd",
                              "setuid",
                              "setresuid",
                              "setgroups",
                              "capset",
                              "init_module",
                              "kexec_load",
                              "reboot",
                              "swapon",
                              "add_key",
                              "open_by_handle_at",
                              "memfd_secret",
                              "seccomp",
                              "landlock_restrict_self",
                              "name_to_handle_at",
                              "fchown",
                              "mknodat",
                              "symlinkat",
                              "linkat",
                              "vmsplice",
                              "quotactl",
                              "syslog",
                              "settimeofday",
                              "sethostname",
                              "iopl",
                              "modify_ldt",
                              "map_shadow_stack",
                              "statmount",
                              "listmount",
                              "open_tree_attr",
                              "file_setattr"};
#if !defined(MSB_SANITIZED)
  for (const char* more :
       {"kill", "tkill", "tgkill", "clone", "process_vm_readv", "ptrace", "personality"})
    EXPECT_EQ(Under(kSupervisorFilter,
                    [&] { return ::syscall(SyscallNumber(more), 0, 0, 0, 0, 0, 0) != 0; }),
              kKilled)
        << more;
#endif
  for (const char* name : kForbidden) {
    int number = SyscallNumber(name);
    ASSERT_GE(number, 0) << name;
    EXPECT_EQ(
        Under(kSupervisorFilter, [&] { return ::syscall(number, 0, 0, 0, 0, 0, 0) == -1 ? 1 : 2; }),
        kKilled)
        << name;
  }
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

TEST(UnpackerPolicy, KillsNetworkProcessesAndPrograms) {
  for (const char* name : {"socket", "connect", "execve", "execveat", "fork", "vfork", "mount",
                           "unshare", "setns", "bpf", "keyctl", "io_uring_setup"})
    EXPECT_EQ(Under(kUnpackerFilter,
                    [&] { return ::syscall(SyscallNumber(name), 0, 0, 0, 0, 0, 0) == -1; }),
              kKilled)
        << name;
}

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
    EXPECT_EQ(
        Under(kQemuFilter, [&] { return ::syscall(SyscallNumber(name), 0, 0, 0, 0, 0, 0) == -1; }),
        kKilled)
        << name;
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

// Each class of thread of the VMM, by what it must not do.
TEST(VmmPolicies, KillWhatNoThreadOfAMachineDoes) {
  const char* kForbidden[] = {"execve",
                              "execveat",
                              "fork",
                              "vfork",
                              "socket",
                              "connect",
                              "bind",
                              "listen",
                              "accept4",
                              "openat2",
                              "mount",
                              "unshare",
                              "setns",
                              "chroot",
                              "pivot_root",
                              "bpf",
                              "keyctl",
                              "userfaultfd",
                              "io_uring_setup",
                              "pidfd_open",
                              "pidfd_getfd",
                              "setuid",
                              "capset",
                              "memfd_create",
                              "process_vm_writev",
                              "perf_event_open",
                              "pkey_mprotect",
                              "dup",
                              "sendmmsg",
                              "ftruncate"};
  for (const Policy& policy : VmmPolicies())
    for (const char* name : kForbidden) {
      int number = SyscallNumber(name);
      ASSERT_GE(number, 0) << name;
      EXPECT_EQ(
          Under(*policy.filter, [&] { return ::syscall(number, 0, 0, 0, 0, 0, 0) == -1 ? 1 : 2; }),
          kKilled)
          << policy.name << " " << name;
    }
}

#if !defined(MSB_SANITIZED)
TEST(VmmPolicies, KillProcessesSignalsAndExecutableMemory) {
  for (const Policy& policy : VmmPolicies()) {
    EXPECT_EQ(Under(*policy.filter, [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != 0; }),
              kKilled)
        << policy.name;
    for (const char* name :
         {"kill", "tkill", "tgkill", "ptrace", "process_vm_readv", "prctl", "openat"})
      EXPECT_EQ(
          Under(*policy.filter, [&] { return ::syscall(SyscallNumber(name), 0, 0, 0, 0, 0) != 0; }),
          kKilled)
          << policy.name << " " << name;
    EXPECT_EQ(Under(*policy.filter,
                    [] {
                      ::syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                      return 0;
                    }),
              kKilled)
        << policy.name;
  }
}

TEST(VmmPolicies, KillTheWorkOfAnotherClass) {
  auto dies = [](const Filter& filter, long number, long second) {
    return Under(filter, [=] { return ::syscall(number, -1, second, 0, 0, 0, 0) == 0 ? 1 : 2; }) ==
           kKilled;
  };
  const Filter* kRunning[] = {&kVmmDeviceFilter, &kVmmWorkerFilter, &kVmmCpuFilter};
  for (const Filter* filter : kRunning) {
    for (unsigned long request : std::initializer_list<unsigned long>{
             KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_VCPU, KVM_SET_SREGS,
             KVM_IOEVENTFD, TIOCSTI})
      EXPECT_TRUE(dies(*filter, SYS_ioctl, static_cast<long>(request))) << request;
    EXPECT_TRUE(dies(*filter, SYS_seccomp, 0));
    EXPECT_TRUE(dies(*filter, SYS_eventfd2, 0));
    EXPECT_FALSE(dies(*filter, SYS_ioctl, KVM_SIGNAL_MSI));
    EXPECT_FALSE(dies(*filter, SYS_clock_gettime, 0));
  }
  for (long number : {SYS_pread64, SYS_pwrite64, SYS_pwritev, SYS_fallocate}) {
    EXPECT_TRUE(dies(kVmmCpuFilter, number, 0));
    EXPECT_TRUE(dies(kVmmDeviceFilter, number, 0));
    EXPECT_FALSE(dies(kVmmWorkerFilter, number, 0));
  }
  for (long number : {SYS_recvmsg, SYS_sendmsg, SYS_getrandom}) {
    EXPECT_TRUE(dies(kVmmCpuFilter, number, 0));
    EXPECT_TRUE(dies(kVmmWorkerFilter, number, 0));
    EXPECT_FALSE(dies(kVmmDeviceFilter, number, 0));
  }
  EXPECT_TRUE(dies(kVmmDeviceFilter, SYS_ioctl, KVM_RUN));
  EXPECT_TRUE(dies(kVmmWorkerFilter, SYS_ioctl, KVM_RUN));
  EXPECT_FALSE(dies(kVmmCpuFilter, SYS_ioctl, KVM_RUN));
  EXPECT_TRUE(dies(kVmmCpuFilter, SYS_read, 0));
}
#endif

#if defined(__x86_64__)
TEST(EveryPolicy, Kills32BitCalls) {
  for (const Filter* filter :
       {&kSupervisorFilter, &kUnpackerFilter, &kJailInitFilter, &kQemuFilter, &kVmmStartFilter,
        &kVmmDeviceFilter, &kVmmWorkerFilter, &kVmmCpuFilter})
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
