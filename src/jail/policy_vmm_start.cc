// SPDX-License-Identifier: Apache-2.0
// What msb-vmm may do from its first instruction until each of its threads has put its own, smaller
// filter on: the sum of what those need, and the making of the machine. Default kill.

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>

#include "jail/policies.h"

namespace msb::jail {
namespace {

constexpr uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
constexpr uint64_t kThreadFlags = CLONE_VM | CLONE_THREAD;

// linux/kvm.h's kvm_cpuid2 has a flexible array, which counts four bytes more in C++, and the size
// is part of a request's number: these two as the kernel knows them.
constexpr uint32_t kGetSupportedCpuid = 0xc008'ae05;
constexpr uint32_t kSetCpuid2 = 0x4008'ae90;

constexpr Rule Ioctl(uint64_t request, std::string_view reason = "") {
  return {"ioctl", reason, kActAllow, {Int(1, static_cast<uint32_t>(request))}};
}

constexpr Rule kStartRules[] = {
    // Start of the program.
    {"execveat",
     "once, of the descriptor opened for it; Landlock lets nothing else be executed",
     kActAllow,
     {Int(0, kProgramFd), Int(4, AT_EMPTY_PATH)}},
    {"arch_prctl"},
    {"set_tid_address"},
    {"set_robust_list"},
    {"rseq"},
    {"prlimit64", "reads, and lowers its own", kActAllow, {Int(0, 0)}},
    {"readlink", "the C library asks for its own path; there is no /proc", ActErrno(ENOENT)},
    {"readlinkat", "as readlink", ActErrno(ENOENT)},
    {"uname"},
    {"sched_getaffinity", "the C library sizes its arenas by it"},
    {"getrandom"},
    {"getpid"},
    {"gettid"},
    {"brk"},
    {"mmap", "not executable", kActAllow, {Bits(2, PROT_EXEC, 0)}},
    {"mprotect", "not executable", kActAllow, {Bits(2, PROT_EXEC, 0)}},
    {"munmap"},
    {"mremap"},
    {"madvise", "the guest's memory: huge pages, no dump, discard"},
    // Threads; each puts its own filter on.
    {"clone3", "the C library then uses clone, whose flags a filter can see", ActErrno(ENOSYS)},
    {"clone", "threads", kActAllow, {Bits(0, kNamespaceFlags | kThreadFlags, kThreadFlags)}},
    {"seccomp", "adds a filter, which only takes away"},
    {"prctl", "as seccomp", kActAllow, {Int(0, PR_SET_SECCOMP)}},
    {"prctl",
     "set already; asked for by the installing of a filter",
     kActAllow,
     {Int(0, PR_SET_NO_NEW_PRIVS)}},
    {"prctl", "names its threads", kActAllow, {Int(0, PR_SET_NAME)}},
    {"prctl", "no core dumps of the guest's memory", kActAllow, {Int(0, PR_SET_DUMPABLE)}},
    {"futex"},
    {"sched_yield"},
    {"membarrier"},
    {"restart_syscall", "the kernel's own continuation of an interrupted wait"},
    {"exit"},
    {"exit_group"},
    {"rt_sigaction"},
    {"rt_sigprocmask"},
    {"rt_sigreturn"},
    {"sigaltstack"},
    {"tgkill", "calls a processor's thread out of KVM_RUN; the PID namespace holds nothing else"},
    // Time and waiting.
    {"clock_gettime", "a system call on clock sources that the vDSO cannot read"},
    {"clock_getres"},
    {"clock_nanosleep"},
    {"gettimeofday", "as clock_gettime"},
    {"epoll_create1"},
    {"epoll_ctl"},
    {"epoll_wait"},
    {"epoll_pwait"},
    {"epoll_pwait2"},
    {"eventfd2"},
    {"timerfd_create"},
    {"timerfd_settime"},
    {"poll"},
    {"ppoll"},
    // Descriptors it was given: nothing is opened by name, ever.
    {"read"},
    {"write"},
    {"readv"},
    {"writev"},
    {"pread64"},
    {"pwrite64"},
    {"preadv"},
    {"pwritev"},
    {"lseek"},
    {"close"},
    {"close_range"},
    {"dup"},
    {"fstat"},
    {"newfstatat", "of a descriptor: the C library's fstat", kActAllow, {Int(3, AT_EMPTY_PATH)}},
    {"fdatasync"},
    {"fsync"},
    {"fallocate", "discard punches holes in the writable disk"},
    {"fcntl", "", kActAllow, {Int(1, F_GETFD)}},
    {"fcntl", "", kActAllow, {Int(1, F_SETFD)}},
    {"fcntl", "", kActAllow, {Int(1, F_GETFL)}},
    {"fcntl", "", kActAllow, {Int(1, F_SETFL)}},
    {"fcntl", "", kActAllow, {Int(1, F_DUPFD_CLOEXEC)}},
    {"fcntl", "the writable disk's lock", kActAllow, {Int(1, F_OFD_SETLK)}},
    {"fcntl", "", kActAllow, {Int(1, F_OFD_GETLK)}},
    {"recvmsg"},
    {"sendmsg"},
    {"recvfrom"},
    {"sendto"},
    {"shutdown"},
    {"getsockopt"},
    Ioctl(TCGETS, "is it a terminal? stderr is a pipe"),
    Ioctl(FIONBIO),
    // KVM: the device, the machine, its processors.
    Ioctl(KVM_GET_API_VERSION),
    Ioctl(KVM_CHECK_EXTENSION),
    Ioctl(KVM_GET_VCPU_MMAP_SIZE),
    Ioctl(KVM_CREATE_VM),
    Ioctl(kGetSupportedCpuid),
    Ioctl(KVM_GET_MSR_INDEX_LIST),
    Ioctl(KVM_GET_MSR_FEATURE_INDEX_LIST),
    Ioctl(KVM_GET_MSRS),
    Ioctl(KVM_SET_MSRS),
    Ioctl(KVM_CREATE_VCPU),
    Ioctl(KVM_SET_USER_MEMORY_REGION),
    Ioctl(KVM_SET_TSS_ADDR),
    Ioctl(KVM_SET_IDENTITY_MAP_ADDR),
    Ioctl(KVM_CREATE_IRQCHIP),
    Ioctl(KVM_SET_GSI_ROUTING),
    Ioctl(KVM_IRQFD),
    Ioctl(KVM_IOEVENTFD),
    Ioctl(KVM_IRQ_LINE),
    Ioctl(KVM_SIGNAL_MSI),
    Ioctl(KVM_ENABLE_CAP),
    Ioctl(KVM_X86_SET_MSR_FILTER),
    Ioctl(KVM_GET_CLOCK),
    Ioctl(KVM_SET_CLOCK),
    Ioctl(KVM_GET_TSC_KHZ),
    Ioctl(KVM_SET_TSC_KHZ),
    Ioctl(kSetCpuid2),
    Ioctl(KVM_GET_REGS),
    Ioctl(KVM_SET_REGS),
    Ioctl(KVM_GET_SREGS),
    Ioctl(KVM_SET_SREGS),
    Ioctl(KVM_GET_FPU),
    Ioctl(KVM_SET_FPU),
    Ioctl(KVM_GET_XSAVE),
    Ioctl(KVM_SET_XSAVE),
    Ioctl(KVM_SET_XCRS),
    Ioctl(KVM_GET_LAPIC),
    Ioctl(KVM_SET_LAPIC),
    Ioctl(KVM_GET_MP_STATE),
    Ioctl(KVM_SET_MP_STATE),
    Ioctl(KVM_GET_VCPU_EVENTS),
    Ioctl(KVM_SET_VCPU_EVENTS),
    Ioctl(KVM_SET_SIGNAL_MASK),
    Ioctl(KVM_KVMCLOCK_CTRL),
    Ioctl(KVM_GET_STATS_FD, "counts of exits, for the benches"),
    Ioctl(KVM_RUN),
};

}  // namespace

constinit const Filter kVmmStartFilter = CompilePolicy<kStartRules>(kActKill);

Policy VmmStartPolicy() { return {"vmm start", kStartRules, kActKill, &kVmmStartFilter}; }

}  // namespace msb::jail
