// SPDX-License-Identifier: Apache-2.0
// The seccomp policies of msb-vmm's threads.
//
// What the guest can take over first is the thread that reads its queues or runs its code, so each
// class has the calls that its work needs: a processor's thread can neither read nor send, the
// disks' thread runs no processor. read() and write(), which loops need to wake and be woken, take
// any descriptor, for no number is known here by which an eventfd could be told from a disk or a
// socket: whatever thread was taken over, it can still write.
//
// Calls on KVM's descriptors are told apart by their request: after the start no thread can make a
// machine, change its memory or rewire it.

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>

#include "jail/policies.h"
#include "jail/policy_parts.h"

namespace msb::jail {
namespace {

constexpr uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;
constexpr uint64_t kThreadFlags = CLONE_VM | CLONE_THREAD;

// KVM_GET_SUPPORTED_CPUID and KVM_SET_CPUID2 of Linux 6.1's header have another size in C++ than in
// C, and the size is part of the number (src/vmm/kvm/cpuid_calls.h): eight bytes.
struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr uint32_t kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
constexpr uint32_t kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

constexpr Rule Control(uint32_t request, std::string_view why) {
  return {"ioctl", why, kActAllow, {Int(1, request)}};
}

// Any thread of a C++ program.
constexpr auto kThread = std::to_array<Rule>({
    {"brk"},
    {"mmap",
     "the heap; no file, so no disk, and not executable",
     kActAllow,
     {Bits(2, PROT_EXEC, 0), Bits(3, MAP_ANONYMOUS, MAP_ANONYMOUS)}},
    {"mprotect", "the heap grows; not executable", kActAllow, {Bits(2, PROT_EXEC, 0)}},
    {"munmap"},
    {"mremap", "the heap's large blocks"},
    {"madvise", "the heap's free pages; a balloon's and an ended thread's"},
    {"futex"},
    {"sched_yield", "the C++ library's locks, for a moment before they wait"},
    {"clock_gettime", "a system call on clock sources that the vDSO cannot read"},
    {"gettimeofday", "as clock_gettime"},
    {"rt_sigprocmask", "the end of a thread"},
    {"rt_sigreturn"},
    {"restart_syscall", "the kernel's own continuation of an interrupted wait"},
    {"write", "wakes another thread's loop; says on stderr why it ends"},
    {"exit"},
    {"exit_group"},
    Control(KVM_SIGNAL_MSI, "an interrupt for the guest"),
});

// A loop's thread.
constexpr auto kLoop = std::to_array<Rule>({
    {"epoll_wait"},
    {"epoll_pwait"},
    {"epoll_ctl", "waits for room in a socket only while one is full"},
    {"read", "eventfds"},
});

// Who has something to say to the supervisor: of the guest's port and its end, of a full host.
constexpr auto kSpeaker = std::to_array<Rule>({
    {"sendto", "a line on the control socket"},
});

constexpr auto kDevices = std::to_array<Rule>({
    {"recvmsg", "from the agent channel straight into the guest's memory"},
    {"sendmsg", "console and agent channel, straight from it"},
    {"recvfrom"},
    {"getrandom", "for the guest"},
});

constexpr auto kWorker = std::to_array<Rule>({
    {"preadv"},
    {"pwritev"},
    {"pread64"},
    {"pwrite64"},
    {"fdatasync"},
    {"fallocate", "discard punches holes in the writable disk"},
});

constexpr auto kCpu = std::to_array<Rule>({
    Control(KVM_RUN, ""),
    Control(KVM_GET_REGS, "where the guest was when KVM could not go on"),
});

constexpr auto kStart = std::to_array<Rule>({
    {"clone3", "the C library then uses clone, whose flags a filter can see", ActErrno(ENOSYS)},
    {"clone", "threads only", kActAllow, {Bits(0, kNamespaceFlags | kThreadFlags, kThreadFlags)}},
    {"mmap", "KVM's page of each processor", kActAllow, {Bits(2, PROT_EXEC, 0)}},
    {"set_robust_list"},
    {"rseq"},
    {"rt_sigaction", "the signal that ends KVM_RUN"},
    {"seccomp", "a thread's own filter, which only takes away"},
    {"prctl", "names its threads", kActAllow, {Int(0, PR_SET_NAME)}},
    {"close"},
    {"newfstatat", "an empty path: sizes of kernel and disks"},
    {"fstat"},
    {"fcntl", "", kActAllow, {Int(1, F_GETFL)}},
    {"fcntl", "the writable disk's lock", kActAllow, {Int(1, F_OFD_SETLK)}},
    {"epoll_create1"},
    {"eventfd2"},
    Control(KVM_GET_API_VERSION, ""),
    Control(KVM_CHECK_EXTENSION, ""),
    Control(KVM_GET_VCPU_MMAP_SIZE, ""),
    Control(KVM_CREATE_VM, ""),
    Control(kGetSupportedCpuid, ""),
    Control(KVM_ENABLE_CAP, "the I/O APIC is ours"),
    Control(KVM_SET_TSS_ADDR, ""),
    Control(KVM_X86_SET_MSR_FILTER, ""),
    Control(KVM_SET_USER_MEMORY_REGION, ""),
    Control(KVM_IOEVENTFD, ""),
    Control(KVM_CREATE_VCPU, ""),
    Control(kSetCpuid2, ""),
    Control(KVM_SET_XCRS, ""),
    Control(KVM_SET_SREGS, ""),
    Control(KVM_SET_REGS, ""),
});

// From the first instruction of the program, in the jail.
constexpr auto kLoad = std::to_array<Rule>({
    {"execveat",
     "once, of the descriptor opened for it; Landlock lets nothing else be executed",
     kActAllow,
     {Int(0, kProgramFd), Int(4, AT_EMPTY_PATH)}},
    {"arch_prctl"},
    {"set_tid_address"},
    {"uname"},
    {"readlink", "the C library asks for its own path; there is no /proc", ActErrno(ENOENT)},
    {"getrandom", "the heap's and the stack's secrets"},
    {"prlimit64", "reads, and lowers its own", kActAllow, {Int(0, 0)}},
    {"prctl", "set by the jail already", kActAllow, {Int(0, PR_SET_NO_NEW_PRIVS)}},
});

#if defined(MSB_SANITIZED)
constexpr auto kLoadRules =
    Join(kLoad, kThread, kLoop, kSpeaker, kDevices, kWorker, kCpu, kStart, kSanitizer);
constexpr auto kStartRules =
    Join(kThread, kLoop, kSpeaker, kDevices, kWorker, kCpu, kStart, kSanitizer);
constexpr auto kDeviceRules = Join(kThread, kLoop, kSpeaker, kDevices, kSanitizer);
constexpr auto kWorkerRules = Join(kThread, kLoop, kSpeaker, kWorker, kSanitizer);
constexpr auto kCpuRules = Join(kThread, kCpu, kSanitizer);
#else
constexpr auto kLoadRules = Join(kLoad, kThread, kLoop, kSpeaker, kDevices, kWorker, kCpu, kStart);
constexpr auto kStartRules = Join(kThread, kLoop, kSpeaker, kDevices, kWorker, kCpu, kStart);
constexpr auto kDeviceRules = Join(kThread, kLoop, kSpeaker, kDevices);
constexpr auto kWorkerRules = Join(kThread, kLoop, kSpeaker, kWorker);
constexpr auto kCpuRules = Join(kThread, kCpu);
#endif

}  // namespace

constinit const Filter kVmmLoadFilter = CompilePolicy<kLoadRules, kActKill>();
constinit const Filter kVmmStartFilter = CompilePolicy<kStartRules, kActKill>();
constinit const Filter kVmmDeviceFilter = CompilePolicy<kDeviceRules, kActKill>();
constinit const Filter kVmmWorkerFilter = CompilePolicy<kWorkerRules, kActKill>();
constinit const Filter kVmmCpuFilter = CompilePolicy<kCpuRules, kActKill>();

std::array<Policy, 5> VmmPolicies() {
  return {{{"vmm load", kLoadRules, kActKill, &kVmmLoadFilter},
           {"vmm start", kStartRules, kActKill, &kVmmStartFilter},
           {"vmm devices", kDeviceRules, kActKill, &kVmmDeviceFilter},
           {"vmm worker", kWorkerRules, kActKill, &kVmmWorkerFilter},
           {"vmm processor", kCpuRules, kActKill, &kVmmCpuFilter}}};
}

}  // namespace msb::jail
