// SPDX-License-Identifier: Apache-2.0
// The default policy as a table, with a reason beside each call that surprises.

#include "jail/box/policy.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <string>
#include <vector>

#include "base/text.h"
#include "jail/policy_parts.h"

namespace msb::box {
namespace {

using jail::ActErrno;
using jail::Bits;
using jail::Int;
using jail::kActAllow;
using jail::kSyscalls;
using jail::Rule;
using jail::SyscallEntry;

// Calls that act on the caller's own memory, descriptors, files and children alone.
constexpr auto kPlain = std::to_array<Rule>({
    // Memory.
    {"brk"},
    {"mmap"},
    {"munmap"},
    {"mremap"},
    {"mprotect"},
    {"madvise"},
    {"mincore"},
    {"msync"},
    {"mlock"},
    {"mlock2"},
    {"mlockall"},
    {"munlock"},
    {"munlockall"},
    {"remap_file_pages"},
    {"memfd_create"},
    {"pkey_alloc"},
    {"pkey_free"},
    {"pkey_mprotect"},
    {"membarrier"},
    {"get_mempolicy"},
    {"mseal"},
    {"map_shadow_stack"},
    // Files.
    {"open"},
    {"openat"},
    {"openat2"},
    {"creat"},
    {"close"},
    {"close_range"},
    {"read"},
    {"write"},
    {"readv"},
    {"writev"},
    {"pread64"},
    {"pwrite64"},
    {"preadv"},
    {"pwritev"},
    {"preadv2"},
    {"pwritev2"},
    {"lseek"},
    {"dup"},
    {"dup2"},
    {"dup3"},
    {"pipe"},
    {"pipe2"},
    {"fcntl"},
    {"flock"},
    {"fsync"},
    {"fdatasync"},
    {"sync"},
    {"syncfs"},
    {"sync_file_range"},
    {"truncate"},
    {"ftruncate"},
    {"fallocate"},
    {"fadvise64"},
    {"readahead"},
    {"sendfile"},
    {"splice"},
    {"tee"},
    {"vmsplice"},
    {"copy_file_range"},
    {"stat"},
    {"fstat"},
    {"lstat"},
    {"newfstatat"},
    {"statx"},
    {"statfs"},
    {"fstatfs"},
    {"access"},
    {"faccessat"},
    {"faccessat2"},
    {"getdents"},
    {"getdents64"},
    {"getcwd"},
    {"chdir"},
    {"fchdir"},
    {"chroot", "within the root that it has"},
    {"mkdir"},
    {"mkdirat"},
    {"rmdir"},
    {"link"},
    {"linkat"},
    {"unlink"},
    {"unlinkat"},
    {"symlink"},
    {"symlinkat"},
    {"readlink"},
    {"readlinkat"},
    {"rename"},
    {"renameat"},
    {"renameat2"},
    {"chmod"},
    {"fchmod"},
    {"fchmodat"},
    {"fchmodat2"},
    {"chown"},
    {"fchown"},
    {"lchown"},
    {"fchownat"},
    {"umask"},
    {"utime"},
    {"utimes"},
    {"utimensat"},
    {"futimesat"},
    {"mknod", "fifos and sockets; devices need a capability that is not there"},
    {"mknodat"},
    {"getxattr"},
    {"lgetxattr"},
    {"fgetxattr"},
    {"setxattr"},
    {"lsetxattr"},
    {"fsetxattr"},
    {"listxattr"},
    {"llistxattr"},
    {"flistxattr"},
    {"removexattr"},
    {"lremovexattr"},
    {"fremovexattr"},
    {"inotify_init"},
    {"inotify_init1"},
    {"inotify_add_watch"},
    {"inotify_rm_watch"},
    {"cachestat"},
    // Waiting.
    {"poll"},
    {"ppoll"},
    {"select"},
    {"pselect6"},
    {"epoll_create"},
    {"epoll_create1"},
    {"epoll_ctl"},
    {"epoll_wait"},
    {"epoll_pwait"},
    {"epoll_pwait2"},
    {"eventfd"},
    {"eventfd2"},
    {"signalfd"},
    {"signalfd4"},
    {"timerfd_create"},
    {"timerfd_settime"},
    {"timerfd_gettime"},
    {"futex"},
    {"futex_waitv"},
    {"futex_wake"},
    {"futex_wait"},
    {"futex_requeue"},
    {"set_robust_list"},
    {"get_robust_list"},
    {"rseq"},
    {"restart_syscall"},
    {"pause"},
    {"io_setup"},
    {"io_destroy"},
    {"io_submit"},
    {"io_cancel"},
    {"io_getevents"},
    {"io_pgetevents"},
    // Processes.
    {"fork"},
    {"vfork"},
    {"execve"},
    {"execveat"},
    {"exit"},
    {"exit_group"},
    {"wait4"},
    {"waitid"},
    {"kill"},
    {"tkill"},
    {"tgkill"},
    {"rt_sigqueueinfo"},
    {"rt_tgsigqueueinfo"},
    {"pidfd_open"},
    {"pidfd_send_signal"},
    {"rt_sigaction"},
    {"rt_sigprocmask"},
    {"rt_sigpending"},
    {"rt_sigsuspend"},
    {"rt_sigtimedwait"},
    {"rt_sigreturn"},
    {"sigaltstack"},
    {"set_tid_address"},
    {"arch_prctl"},
    {"set_thread_area"},
    {"get_thread_area"},
    {"getpid"},
    {"getppid"},
    {"gettid"},
    {"getpgid"},
    {"setpgid"},
    {"getpgrp"},
    {"getsid"},
    {"setsid"},
    {"sched_yield"},
    {"sched_getaffinity"},
    {"sched_setaffinity"},
    {"sched_getparam"},
    {"sched_setparam"},
    {"sched_getscheduler"},
    {"sched_setscheduler"},
    {"sched_getattr"},
    {"sched_setattr"},
    {"sched_get_priority_max"},
    {"sched_get_priority_min"},
    {"sched_rr_get_interval"},
    {"getpriority"},
    {"setpriority"},
    {"ioprio_get"},
    {"ioprio_set"},
    {"getcpu"},
    {"getrlimit"},
    {"setrlimit"},
    {"getrusage"},
    {"times"},
    {"sysinfo"},
    {"uname"},
    {"getrandom"},
    {"seccomp", "programs may confine themselves further"},
    {"landlock_create_ruleset"},
    {"landlock_add_rule"},
    {"landlock_restrict_self"},
    // Ids and capabilities: what the sandbox holds decides.
    {"getuid"},
    {"geteuid"},
    {"getgid"},
    {"getegid"},
    {"getresuid"},
    {"getresgid"},
    {"getgroups"},
    {"setuid"},
    {"setgid"},
    {"setreuid"},
    {"setregid"},
    {"setresuid"},
    {"setresgid"},
    {"setfsuid"},
    {"setfsgid"},
    {"setgroups"},
    {"capget"},
    {"capset"},
    // Time: reading it.
    {"time"},
    {"gettimeofday"},
    {"clock_gettime"},
    {"clock_getres"},
    {"clock_nanosleep"},
    {"nanosleep"},
    {"alarm"},
    {"getitimer"},
    {"setitimer"},
    {"timer_create"},
    {"timer_delete"},
    {"timer_getoverrun"},
    {"timer_gettime"},
    {"timer_settime"},
    {"adjtimex", "reads; to set the clock needs a capability"},
    {"clock_adjtime", "as adjtimex"},
    // Sockets that are there; which kinds can be made is below.
    {"bind"},
    {"listen"},
    {"accept"},
    {"accept4"},
    {"connect"},
    {"getsockname"},
    {"getpeername"},
    {"getsockopt"},
    {"setsockopt"},
    {"sendto"},
    {"sendmsg"},
    {"sendmmsg"},
    {"recvfrom"},
    {"recvmsg"},
    {"recvmmsg"},
    {"shutdown"},
    // System V and POSIX IPC, of the sandbox's own namespace.
    {"shmget"},
    {"shmat"},
    {"shmctl"},
    {"shmdt"},
    {"semget"},
    {"semop"},
    {"semtimedop"},
    {"semctl"},
    {"msgget"},
    {"msgsnd"},
    {"msgrcv"},
    {"msgctl"},
    {"mq_open"},
    {"mq_unlink"},
    {"mq_timedsend"},
    {"mq_timedreceive"},
    {"mq_notify"},
    {"mq_getsetattr"},
});

constexpr int kPersonalityAsk = -1;
constexpr auto kByArgument = std::to_array<Rule>({
    {"clone",
     "no new namespaces: the way to the kernel's largest attack surface",
     kActAllow,
     {Bits(0, kNamespaceFlags, 0)}},
    {"clone", "", ActErrno(EPERM)},
    {"clone3", "its flags cannot be seen", ActErrno(ENOSYS)},
    {"socket", "", kActAllow, {Int(0, AF_UNIX)}},
    {"socket", "raw ones only as far as CAP_NET_RAW reaches", kActAllow, {Int(0, AF_INET)}},
    {"socket", "", kActAllow, {Int(0, AF_INET6)}},
    {"socket",
     "NETLINK_ROUTE: what interfaces there are",
     kActAllow,
     {Int(0, AF_NETLINK), Int(2, 0)}},
    {"socket", "", ActErrno(EAFNOSUPPORT)},
    {"socketpair", "", kActAllow, {Int(0, AF_UNIX)}},
    {"socketpair", "", ActErrno(EAFNOSUPPORT)},
    {"ioctl", "TIOCSTI types into a terminal", ActErrno(EPERM), {Int(1, 0x5412)}},
    {"ioctl", "TIOCLINUX pastes into one", ActErrno(EPERM), {Int(1, 0x541C)}},
    {"ioctl", "", kActAllow},
    {"prlimit64", "PID 1 is the sandbox's init", ActErrno(EPERM), {Int(0, 1)}},
    {"prlimit64", "", kActAllow},
    {"personality", "PER_LINUX", kActAllow, {Int(0, 0)}},
    {"personality", "ask", kActAllow, {Int(0, static_cast<uint32_t>(kPersonalityAsk))}},
    {"personality",
     "no randomised addresses: debuggers and some language runtimes",
     kActAllow,
     {Int(0, 0x0040000)}},
    {"personality", "", ActErrno(EPERM)},
    {"prctl",
     "memory of checkpoints, reaches beyond what a program needs",
     ActErrno(EPERM),
     {Int(0, PR_SET_MM)}},
    {"prctl", "", kActAllow},
});

// Every call of our table that is allowed nowhere above: refused, not unknown.
template <class... Parts>
consteval size_t CountRefused(const Parts&... parts) {
  size_t count = 0;
  for (const SyscallEntry& entry : kSyscalls) {
    bool named = false;
    auto look = [&](const auto& part) {
      for (const Rule& rule : part) named = named || rule.call == entry.name;
    };
    (look(parts), ...);
    if (!named) count++;
  }
  return count;
}

template <size_t kCount, class... Parts>
consteval auto Refused(const Parts&... parts) {
  std::array<Rule, kCount> rules{};
  size_t at = 0;
  for (const SyscallEntry& entry : kSyscalls) {
    bool named = false;
    auto look = [&](const auto& part) {
      for (const Rule& rule : part) named = named || rule.call == entry.name;
    };
    (look(parts), ...);
    if (!named) rules[at++] = {entry.name, "", ActErrno(EPERM)};
  }
  return rules;
}

constexpr auto kRefused = Refused<CountRefused(kPlain, kByArgument)>(kPlain, kByArgument);
constexpr auto kRules = jail::Join(kPlain, kByArgument, kRefused);

constexpr std::string_view kCapabilityNames[kCapabilities] = {"CHOWN",
                                                              "DAC_OVERRIDE",
                                                              "DAC_READ_SEARCH",
                                                              "FOWNER",
                                                              "FSETID",
                                                              "KILL",
                                                              "SETGID",
                                                              "SETUID",
                                                              "SETPCAP",
                                                              "LINUX_IMMUTABLE",
                                                              "NET_BIND_SERVICE",
                                                              "NET_BROADCAST",
                                                              "NET_ADMIN",
                                                              "NET_RAW",
                                                              "IPC_LOCK",
                                                              "IPC_OWNER",
                                                              "SYS_MODULE",
                                                              "SYS_RAWIO",
                                                              "SYS_CHROOT",
                                                              "SYS_PTRACE",
                                                              "SYS_PACCT",
                                                              "SYS_ADMIN",
                                                              "SYS_BOOT",
                                                              "SYS_NICE",
                                                              "SYS_RESOURCE",
                                                              "SYS_TIME",
                                                              "SYS_TTY_CONFIG",
                                                              "MKNOD",
                                                              "LEASE",
                                                              "AUDIT_WRITE",
                                                              "AUDIT_CONTROL",
                                                              "SETFCAP",
                                                              "MAC_OVERRIDE",
                                                              "MAC_ADMIN",
                                                              "SYSLOG",
                                                              "WAKE_ALARM",
                                                              "BLOCK_SUSPEND",
                                                              "AUDIT_READ",
                                                              "PERFMON",
                                                              "BPF",
                                                              "CHECKPOINT_RESTORE"};

constexpr uint64_t Bit(int number) { return uint64_t{1} << number; }

}  // namespace

constinit const jail::Filter kDefaultFilter = jail::CompilePolicy<kRules, ActErrno(ENOSYS)>();

extern constexpr uint64_t kDefaultCapabilities =
    Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) | Bit(CAP_KILL) |
    Bit(CAP_SETGID) | Bit(CAP_SETUID) | Bit(CAP_SETPCAP) | Bit(CAP_NET_BIND_SERVICE) |
    Bit(CAP_NET_RAW) | Bit(CAP_SYS_CHROOT) | Bit(CAP_SETFCAP);

jail::Policy DefaultPolicy() {
  return {"process sandbox", kRules, ActErrno(ENOSYS), &kDefaultFilter};
}

Result<int> CapabilityNumber(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string_view wanted = upper;
  if (wanted.starts_with("CAP_")) wanted.remove_prefix(4);
  for (int i = 0; i < kCapabilities; i++)
    if (kCapabilityNames[i] == wanted) return i;
  std::vector<std::string> names;
  for (std::string_view known : kCapabilityNames) names.emplace_back(known);
  return Error(Code::kInvalidArgument, Cat("unknown capability ", Escape(name, 64)))
      .Remedy(
          DidYouMean(wanted, names, "names are those of capabilities(7), with or without CAP_"));
}

std::string_view CapabilityName(int number) {
  return number >= 0 && number < kCapabilities ? kCapabilityNames[number] : std::string_view();
}

}  // namespace msb::box
