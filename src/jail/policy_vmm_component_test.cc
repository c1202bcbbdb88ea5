// SPDX-License-Identifier: Apache-2.0
// The policies of msb-vmm's threads in force: for each class every call that it allows is let be,
// and every other kills. That the allowed ones are enough is shown by machines that run: tests/vmm.

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <set>
#include <vector>

#include "jail/test_bpf.h"
#include "jail/test_calls.h"

namespace msb::jail {
namespace {

// What a thread that the guest has taken over would do next.
TEST(VmmPolicies, KillWhatNoThreadOfAMachineDoes) {
  for (const Policy& policy : VmmPolicies())
    for (const char* name : {"accept4", "openat2", "memfd_create", "dup", "sendmmsg", "ftruncate"})
      EXPECT_EQ(Calling(policy, name), kKilled) << policy.name << " " << name;
}

// Sanitizers' own calls are let be under their builds' policies, by name (policy_parts.h).
#if !defined(MSB_SANITIZED)

constexpr uint64_t kNone = ~uint64_t{0};  // No descriptor, no address, no known value.

std::vector<NumberedRule> RulesOf(const Policy& policy) {
  std::vector<NumberedRule> rules;
  for (const Rule& rule : policy.rules)
    if (int number = SyscallNumber(rule.call); number >= 0)
      rules.push_back({static_cast<uint32_t>(number), rule.action, rule.all_of});
  return rules;
}

// Arguments for which `rule` holds, and which do no harm otherwise.
Arguments Within(const NumberedRule& rule) {
  Arguments arguments{kNone};
  for (const ArgCheck& check : rule.all_of)
    arguments[check.arg] = (arguments[check.arg] & ~check.mask) | check.value;
  return arguments;
}

bool Conditional(const NumberedRule& rule) {
  return std::any_of(rule.all_of.begin(), rule.all_of.end(),
                     [](const ArgCheck& check) { return check.mask != 0; });
}

TEST(VmmPolicies, LetBeEveryCallThatTheyAllowWithTheArgumentsThatTheyAllow) {
  const std::set<std::string_view> kEndsTheThread = {"exit", "exit_group", "rt_sigreturn"};
  for (const Policy& policy : VmmPolicies()) {
    auto rules = RulesOf(policy);
    for (size_t i = 0; i < rules.size(); i++) {
      auto name = policy.rules[i].call;
      auto end = Calling(*policy.filter, static_cast<int>(rules[i].number), Within(rules[i]));
      if (kEndsTheThread.contains(name))
        EXPECT_NE(end, kKilled) << policy.name << " " << name;
      else
        EXPECT_EQ(end, kFine) << policy.name << " " << name;
    }
  }
}

TEST(VmmPolicies, KillEveryCallThatTheyDoNotName) {
  for (const Policy& policy : VmmPolicies()) {
    std::set<int> named;
    for (const NumberedRule& rule : RulesOf(policy)) named.insert(static_cast<int>(rule.number));
    for (const SyscallEntry& entry : kSyscalls) {
      int number = SyscallNumber(entry.name);
      if (number < 0 || named.contains(number)) continue;
      EXPECT_EQ(Calling(*policy.filter, number), kKilled) << policy.name << " " << entry.name;
    }
  }
}

// A call that is allowed with some arguments kills with others.
TEST(VmmPolicies, KillEveryConditionalCallWithOtherArguments) {
  for (const Policy& policy : VmmPolicies()) {
    auto rules = RulesOf(policy);
    size_t conditional = 0;
    for (const NumberedRule& rule : rules) {
      if (!Conditional(rule)) continue;
      for (const ArgCheck& check : rule.all_of) {
        if (check.mask == 0) continue;
        Arguments arguments = Within(rule);
        arguments[check.arg] ^= check.mask;
        seccomp_data data{};
        data.nr = static_cast<int>(rule.number);
        data.arch = kAuditArch;
        std::copy(arguments.begin(), arguments.end(), data.args);
        if (Naive(rules, policy.fallback, data) != kActKill) continue;  // Another rule's.
        conditional++;
        EXPECT_EQ(Calling(*policy.filter, data.nr, arguments), kKilled)
            << policy.name << " call " << rule.number << " argument " << int{check.arg};
      }
    }
    EXPECT_GE(conditional, 3u) << policy.name;
  }
}

TEST(VmmPolicies, KillProcessesAndExecutableMemory) {
  for (const Policy& policy : VmmPolicies()) {
    EXPECT_EQ(Calling(*policy.filter, SYS_clone, {SIGCHLD}), kKilled) << policy.name;
    EXPECT_EQ(Calling(*policy.filter, SYS_clone, {CLONE_VM | CLONE_THREAD | CLONE_NEWUSER}),
              kKilled)
        << policy.name;
    EXPECT_EQ(Calling(*policy.filter, SYS_mmap,
                      {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, kNone, 0}),
              kKilled)
        << policy.name;
    EXPECT_EQ(Calling(*policy.filter, SYS_mprotect, {0, 4096, PROT_EXEC}), kKilled) << policy.name;
  }
}

// By intent, whatever the tables say: what makes the classes differ.
TEST(VmmPolicies, KillTheWorkOfAnotherClass) {
  auto dies = [](const Filter& filter, long number, unsigned long second = 0) {
    return Calling(filter, static_cast<int>(number), {kNone, second}) == kKilled;
  };
  const Filter* kRunning[] = {&kVmmDeviceFilter, &kVmmWorkerFilter, &kVmmCpuFilter};
  for (const Filter* filter : kRunning) {
    for (unsigned long request : std::initializer_list<unsigned long>{
             KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_VCPU, KVM_SET_SREGS,
             KVM_IOEVENTFD, TIOCSTI})
      EXPECT_TRUE(dies(*filter, SYS_ioctl, request)) << request;
    for (long number : {SYS_seccomp, SYS_eventfd2, SYS_close, SYS_clone, SYS_prctl, SYS_openat})
      EXPECT_TRUE(dies(*filter, number)) << number;
    EXPECT_FALSE(dies(*filter, SYS_ioctl, KVM_SIGNAL_MSI));
    EXPECT_FALSE(dies(*filter, SYS_clock_gettime));
  }
  for (long number :
       {SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_fallocate, SYS_fdatasync}) {
    EXPECT_TRUE(dies(kVmmCpuFilter, number));
    EXPECT_TRUE(dies(kVmmDeviceFilter, number));
    EXPECT_FALSE(dies(kVmmWorkerFilter, number));
  }
  for (long number : {SYS_recvmsg, SYS_sendmsg, SYS_getrandom}) {
    EXPECT_TRUE(dies(kVmmCpuFilter, number));
    EXPECT_TRUE(dies(kVmmWorkerFilter, number));
    EXPECT_FALSE(dies(kVmmDeviceFilter, number));
  }
  // The supervisor hears of a full host from the disks' thread.
  EXPECT_TRUE(dies(kVmmCpuFilter, SYS_sendto));
  EXPECT_FALSE(dies(kVmmWorkerFilter, SYS_sendto));
  EXPECT_FALSE(dies(kVmmDeviceFilter, SYS_sendto));
  EXPECT_TRUE(dies(kVmmDeviceFilter, SYS_ioctl, KVM_RUN));
  EXPECT_TRUE(dies(kVmmWorkerFilter, SYS_ioctl, KVM_RUN));
  EXPECT_FALSE(dies(kVmmCpuFilter, SYS_ioctl, KVM_RUN));
  EXPECT_TRUE(dies(kVmmCpuFilter, SYS_read));
}

#endif

}  // namespace
}  // namespace msb::jail
