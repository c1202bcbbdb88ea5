// SPDX-License-Identifier: Apache-2.0
// The seccomp policies as tables: a call, and a reason beside each that surprises.

#include "jail/policies.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/net.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstddef>

#include "jail/policy_parts.h"

namespace msb::jail {
namespace {

constexpr uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;
constexpr uint64_t kThreadFlags = CLONE_VM | CLONE_THREAD;

// What the C library does by itself in any program. Not tgkill: abort() then ends by SIGSYS instead
// of SIGABRT, and nothing here can signal by number.
constexpr auto kRuntime = std::to_array<Rule>({
    {"brk"},
    {"munmap"},
    {"mremap"},
    {"madvise", "free() of large blocks"},
    {"futex"},
    {"getrandom"},
    {"clock_gettime", "a system call on clock sources that the vDSO cannot read"},
    {"gettimeofday", "as clock_gettime"},
    {"clock_getres"},
    {"clock_nanosleep"},
    {"getpid"},
    {"gettid"},
    {"rt_sigaction"},
    {"rt_sigprocmask"},
    {"rt_sigreturn"},
    {"sigaltstack"},
    {"restart_syscall", "the kernel's own continuation of an interrupted wait"},
    {"exit"},
    {"exit_group"},
    {"getuid"},
    {"geteuid"},
    {"getgid"},
    {"getegid"},
    {"sched_yield"},
    {"rseq"},
    {"set_robust_list"},
    {"membarrier"},
});

// Memory without W^X holes: never a writable page that is executable too.
constexpr auto kPlainMemory = std::to_array<Rule>({
    {"mmap", "not executable", kActAllow, {Bits(2, PROT_EXEC, 0)}},
    {"mprotect", "not executable", kActAllow, {Bits(2, PROT_EXEC, 0)}},
});

// Reading and writing what is open.
constexpr auto kByteIo = std::to_array<Rule>({
    {"read"},       {"write"},       {"readv"},
    {"writev"},     {"pread64"},     {"pwrite64"},
    {"preadv"},     {"pwritev"},     {"lseek"},
    {"close"},      {"close_range"}, {"fstat"},
    {"newfstatat"}, {"statx"},       {"fsync"},
    {"fdatasync"},  {"ftruncate"},   {"fallocate", "punches holes in disks and logs"},
    {"dup"},        {"dup3"},        {"poll"},
    {"ppoll"},
});

// Paths: Landlock says which.
constexpr auto kPathIo = std::to_array<Rule>({
    {"openat"},     {"openat2"},   {"open"},       {"stat"},       {"lstat"},
    {"access"},     {"faccessat"}, {"faccessat2"}, {"readlinkat"}, {"readlink"},
    {"getdents64"}, {"mkdirat"},   {"mkdir"},      {"unlinkat"},   {"unlink"},
    {"rmdir"},      {"renameat"},  {"renameat2"},  {"rename"},
});

// fcntl by command: none of them reaches beyond the process's own descriptors.
constexpr auto kDescriptorFlags = std::to_array<Rule>({
    {"fcntl", "", kActAllow, {Int(1, F_GETFD)}},
    {"fcntl", "", kActAllow, {Int(1, F_SETFD)}},
    {"fcntl", "", kActAllow, {Int(1, F_GETFL)}},
    {"fcntl", "", kActAllow, {Int(1, F_SETFL)}},
    {"fcntl", "", kActAllow, {Int(1, F_DUPFD_CLOEXEC)}},
    {"fcntl", "locks of records and disks", kActAllow, {Int(1, F_OFD_SETLK)}},
    {"fcntl", "", kActAllow, {Int(1, F_OFD_GETLK)}},
    {"fcntl", "", kActAllow, {Int(1, F_ADD_SEALS)}},
    {"fcntl", "", kActAllow, {Int(1, F_GET_SEALS)}},
});

constexpr auto kSupervisorOnly = std::to_array<Rule>({
    {"epoll_create1"},
    {"epoll_ctl"},
    {"epoll_wait"},
    {"epoll_pwait"},
    {"epoll_pwait2"},
    {"eventfd2"},
    {"timerfd_create"},
    {"timerfd_settime"},
    {"timerfd_gettime"},
    {"signalfd4"},
    {"accept4"},
    {"recvmsg"},
    {"sendmsg"},
    {"recvfrom"},
    {"sendto"},
    {"shutdown"},
    {"getsockopt", "SO_PEERCRED: who is on the control socket"},
    {"getpeername"},
    {"getsockname"},
    {"pipe2"},
    {"socketpair", "Unix only: a pair has no address", kActAllow, {Int(0, 1 /* AF_UNIX */)}},
    {"memfd_create"},
    {"splice", "not a way out: both ends are open already"},
    {"sendfile", "a log file to a client's socket"},
    {"pidfd_send_signal", "stops what it started; other users' processes by the kernel's rules"},
    {"waitid"},
    {"wait4"},
    {"getppid"},
    {"getrusage"},
    {"umask"},
    {"fchmod"},
    {"fstatfs"},
    {"uname"},
    {"sysinfo"},
    {"prlimit64", "reads only", kActAllow, {Int(0, 0), Bits(2, ~0ull, 0)}},
    {"ioctl", "is it a terminal?", kActAllow, {Int(1, TCGETS)}},
    {"ioctl", "bytes waiting", kActAllow, {Int(1, FIONREAD)}},
    {"ioctl", "non-blocking", kActAllow, {Int(1, FIONBIO)}},
    {"prctl", "names its thread", kActAllow, {Int(0, PR_SET_NAME)}},
});

constexpr auto kUnpackerOnly = std::to_array<Rule>({
    {"mmap",
     "dynamic: a locale or a codec is loaded late, from what Landlock lets it read",
     kActAllow,
     {Bits(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)}},
    {"mprotect",
     "the loader seals relocations",
     kActAllow,
     {Bits(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)}},
    {"pipe2"},
    {"copy_file_range"},
    {"fadvise64"},
    {"sync_file_range"},
    {"memfd_create"},
    {"fchmod"},
    {"fchmodat", "modes of what it unpacks"},
    {"fchmodat2"},
    {"fchown"},
    {"fchownat", "owners of what it unpacks; the capability decides"},
    {"lchown"},
    {"utimensat"},
    {"symlinkat"},
    {"linkat"},
    {"mknodat", "devices of an image, as root; Landlock says where"},
    {"fsetxattr"},
    {"lsetxattr"},
    {"setxattr"},
    {"fgetxattr"},
    {"lgetxattr"},
    {"flistxattr"},
    {"getxattr", "of O_PATH descriptors, by /proc/self/fd: reading a tree opens no device"},
    {"listxattr"},
    {"llistxattr"},
    {"fremovexattr"},
    {"umask"},
    {"fchdir"},
    {"getcwd"},
    {"fstatfs"},
    {"statfs"},
    {"uname"},
    {"sysinfo"},
    {"getrusage"},
    {"sched_getaffinity", "how many compression threads"},
    {"prlimit64", "reads only", kActAllow, {Int(0, 0), Bits(2, ~0ull, 0)}},
    {"clone3", "the C library then uses clone, whose flags a filter can see", ActErrno(ENOSYS)},
    {"clone", "threads only", kActAllow, {Bits(0, kNamespaceFlags | kThreadFlags, kThreadFlags)}},
    {"ioctl", "is it a terminal?", kActAllow, {Int(1, TCGETS)}},
    {"prctl", "names its threads", kActAllow, {Int(0, PR_SET_NAME)}},
    {"sched_getparam"},
    {"sched_getscheduler"},
});

// After its set-up an init waits for its children and two descriptors, writes eight bytes, exits.
constexpr auto kJailInitOnly = std::to_array<Rule>({
    {"ppoll"},
    {"poll"},
    {"waitid"},
    {"write"},
    {"read"},
    {"close"},
    {"exit_group"},
    {"restart_syscall"},
    {"rt_sigreturn"},
});
constexpr auto kBoxInitOnly = std::to_array<Rule>({
    {"kill", "passes signals on, within its PID namespace"},
});

#if defined(MSB_SANITIZED)
constexpr auto kSupervisorRules =
    Join(kRuntime, kPlainMemory, kByteIo, kPathIo, kDescriptorFlags, kSupervisorOnly, kSanitizer);
constexpr auto kUnpackerRules =
    Join(kRuntime, kPlainMemory, kByteIo, kPathIo, kDescriptorFlags, kUnpackerOnly, kSanitizer);
constexpr auto kJailInitRules = Join(kRuntime, kJailInitOnly, kSanitizer);
constexpr auto kBoxInitRules = Join(kJailInitRules, kBoxInitOnly);
#else
constexpr auto kSupervisorRules =
    Join(kRuntime, kPlainMemory, kByteIo, kPathIo, kDescriptorFlags, kSupervisorOnly);
constexpr auto kUnpackerRules =
    Join(kRuntime, kPlainMemory, kByteIo, kPathIo, kDescriptorFlags, kUnpackerOnly);
constexpr auto kJailInitRules = kJailInitOnly;
constexpr auto kBoxInitRules = Join(kJailInitOnly, kBoxInitOnly);
#endif

}  // namespace

constinit const Filter kSupervisorFilter = CompilePolicy<kSupervisorRules, kActKill>();
constinit const Filter kUnpackerFilter = CompilePolicy<kUnpackerRules, kActKill>();
constinit const Filter kJailInitFilter = CompilePolicy<kJailInitRules, kActKill>();
constinit const Filter kBoxInitFilter = CompilePolicy<kBoxInitRules, kActKill>();

std::array<Policy, 4> SmallProgramPolicies() {
  return {{{"supervisor", kSupervisorRules, kActKill, &kSupervisorFilter},
           {"unpacker", kUnpackerRules, kActKill, &kUnpackerFilter},
           {"jail init", kJailInitRules, kActKill, &kJailInitFilter},
           {"sandbox init", kBoxInitRules, kActKill, &kBoxInitFilter}}};
}

}  // namespace msb::jail
