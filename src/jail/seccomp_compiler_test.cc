// SPDX-License-Identifier: Apache-2.0
// The seccomp compiler against a naive reading of its rules, and against libseccomp.

#include "jail/seccomp_compiler.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <rapidcheck.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "base/fd.h"
#include "jail/policies.h"
#include "jail/test_bpf.h"

namespace msb::jail {
namespace {

std::vector<NumberedRule> Numbered(std::span<const Rule> rules) {
  std::vector<NumberedRule> out;
  for (const Rule& rule : rules) {
    int number = SyscallNumber(rule.call);
    if (number >= 0) out.push_back({static_cast<uint32_t>(number), rule.action, rule.all_of});
  }
  return out;
}

std::span<const sock_filter> Code(const Filter& filter) { return filter.code; }

// Calls with arguments that sit on, beside and far from what the rules ask about.
std::vector<seccomp_data> Probes(std::span<const NumberedRule> rules) {
  std::vector<seccomp_data> probes;
  for (int nr = 0; nr < 480; nr++) {
    seccomp_data data{};
    data.arch = kAuditArch;
    data.nr = nr;
    probes.push_back(data);
    for (auto& arg : data.args) arg = ~0ull;
    probes.push_back(data);
  }
  for (const NumberedRule& rule : rules) {
    for (uint64_t other : {0ull, ~0ull, 1ull << 32, 1ull}) {
      seccomp_data data{};
      data.arch = kAuditArch;
      data.nr = static_cast<int>(rule.number);
      for (const ArgCheck& check : rule.all_of)
        if (check.mask != 0)
          data.args[check.arg] = (data.args[check.arg] & ~check.mask) | check.value;
      probes.push_back(data);
      for (const ArgCheck& check : rule.all_of) data.args[check.arg] ^= other & ~check.mask;
      probes.push_back(data);
      for (const ArgCheck& check : rule.all_of) data.args[check.arg] ^= other & check.mask;
      probes.push_back(data);
    }
  }
  return probes;
}

std::vector<sock_filter> LibseccompFilter(std::span<const NumberedRule> rules, uint32_t fallback) {
  scmp_filter_ctx context = ::seccomp_init(fallback);
  EXPECT_NE(context, nullptr);
  for (const NumberedRule& rule : rules) {
    std::vector<scmp_arg_cmp> checks;
    for (const ArgCheck& check : rule.all_of)
      if (check.mask != 0)
        checks.push_back({check.arg, SCMP_CMP_MASKED_EQ, check.mask, check.value});
    int rc = ::seccomp_rule_add_array(context, rule.action, static_cast<int>(rule.number),
                                      static_cast<unsigned>(checks.size()), checks.data());
    EXPECT_EQ(rc, 0) << rule.number;
  }
  UniqueFd file(::memfd_create("bpf", MFD_CLOEXEC));
  EXPECT_EQ(::seccomp_export_bpf(context, file.get()), 0);
  ::seccomp_release(context);
  auto size = static_cast<size_t>(::lseek(file.get(), 0, SEEK_END));
  std::vector<sock_filter> code(size / sizeof(sock_filter));
  EXPECT_EQ(::pread(file.get(), code.data(), size, 0), static_cast<ssize_t>(size));
  return code;
}

TEST(SyscallTable, IsSortedAndAgreesWithTheHeaders) {
  EXPECT_TRUE(std::is_sorted(std::begin(kSyscalls), std::end(kSyscalls),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
  EXPECT_EQ(SyscallNumber("openat"), __NR_openat);
  EXPECT_EQ(SyscallNumber("clone3"), __NR_clone3);
  EXPECT_EQ(SyscallNumber("execveat"), __NR_execveat);
  EXPECT_EQ(SyscallNumber("no_such_call"), kUnknownSyscall);
}

TEST(SyscallTable, AgreesWithLibseccompOnEveryCallItKnows) {
  size_t compared = 0;
  for (const SyscallEntry& entry : kSyscalls) {
    std::string name(entry.name);
    int theirs = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name.c_str());
    if (theirs >= 0) {
      EXPECT_EQ(entry.x86_64, theirs) << name;
    }
    int arm = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_AARCH64, name.c_str());
    if (arm >= 0) {
      EXPECT_EQ(entry.aarch64, arm) << name;
    }
    compared += theirs >= 0;
  }
  EXPECT_GT(compared, 330u);
}

// Those whose default is to kill.
std::vector<Policy> StrictPolicies() {
  auto small = SmallProgramPolicies();
  auto vmm = VmmPolicies();
  std::vector<Policy> all(small.begin(), small.end());
  all.insert(all.end(), vmm.begin(), vmm.end());
  return all;
}

TEST(SeccompCompiler, EachPolicyDecidesAsItsTableReads) {
  auto all = StrictPolicies();
  all.push_back(QemuPolicy());
  for (const Policy& policy : all) {
    SCOPED_TRACE(policy.name);
    auto rules = Numbered(policy.rules);
    for (const seccomp_data& data : Probes(rules))
      ASSERT_EQ(RunBpf(Code(*policy.filter), data), Naive(rules, policy.fallback, data))
          << "call " << data.nr;
  }
}

TEST(SeccompCompiler, DecidesAsLibseccompCallByCall) {
  for (const Policy& policy : StrictPolicies()) {
    SCOPED_TRACE(policy.name);
    auto rules = Numbered(policy.rules);
    auto theirs = LibseccompFilter(rules, policy.fallback);
    for (const seccomp_data& data : Probes(rules))
      ASSERT_EQ(RunBpf(Code(*policy.filter), data), RunBpf(theirs, data)) << "call " << data.nr;
  }
}

TEST(SeccompCompiler, KillsCallsOfAnotherArchitecture) {
  for (const Policy& policy : StrictPolicies()) {
    seccomp_data data{};
    data.nr = SyscallNumber("read");
    for (uint32_t arch : {uint32_t{AUDIT_ARCH_I386}, uint32_t{AUDIT_ARCH_ARM}, 0u}) {
      data.arch = arch;
      EXPECT_EQ(RunBpf(Code(*policy.filter), data), kActKill);
    }
  }
}

#if defined(__x86_64__)
TEST(SeccompCompiler, KillsX32AndNegativeNumbers) {
  seccomp_data data{};
  data.arch = kAuditArch;
  for (int nr : {0x4000'0000, 0x4000'0001, -1, -2147483647 - 1}) {
    data.nr = nr;
    EXPECT_EQ(RunBpf(Code(kQemuFilter), data), kActKill) << nr;
  }
}
#endif

TEST(SeccompCompiler, SearchesInsteadOfChaining) {
  // The longest way to any answer, in instructions: a chain would take one jump a call.
  auto steps = [](std::span<const sock_filter> code, seccomp_data data) {
    size_t best = 0, at = 0, count = 0;
    uint32_t value = 0;
    for (; at < code.size(); at++, count++) {
      const sock_filter& op = code[at];
      if (op.code == (BPF_LD | BPF_W | BPF_ABS))
        std::memcpy(&value, reinterpret_cast<const char*>(&data) + op.k, 4);
      if (op.code == (BPF_ALU | BPF_AND | BPF_K)) value &= op.k;
      if (op.code == (BPF_JMP | BPF_JA)) at += op.k;
      if (op.code == (BPF_JMP | BPF_JEQ | BPF_K)) at += value == op.k ? op.jt : op.jf;
      if (op.code == (BPF_JMP | BPF_JGE | BPF_K)) at += value >= op.k ? op.jt : op.jf;
      if (op.code == (BPF_RET | BPF_K)) break;
    }
    best = count + 1;
    return best;
  };
  for (int nr = 0; nr < 480; nr++) {
    if (nr == SyscallNumber("fcntl") || nr == SyscallNumber("ioctl") ||
        nr == SyscallNumber("prctl"))
      continue;  // Their arguments are asked one after the other.
    seccomp_data data{};
    data.arch = kAuditArch;
    data.nr = nr;
    EXPECT_LE(steps(Code(kSupervisorFilter), data), 24u) << nr;
    EXPECT_LE(steps(Code(kQemuFilter), data), 24u) << nr;
  }
}

TEST(SeccompCompiler, RefusesWhatDoesNotFit) {
  FilterBuffer filter;
  std::vector<NumberedRule> many(kMaxRules + 1, NumberedRule{1, kActAllow, {}});
  EXPECT_FALSE(CompileFilter(many, kActKill, filter));
  std::vector<NumberedRule> bad_argument{{1, kActAllow, {ArgCheck{6, 1, 1}}}};
  EXPECT_FALSE(CompileFilter(bad_argument, kActKill, filter));
  std::vector<NumberedRule> foreign{{kForeignNumbers, kActAllow, {}}};
  EXPECT_FALSE(CompileFilter(foreign, kActKill, filter));
}

TEST(SeccompCompiler, RandomPoliciesDecideAsTheirRulesRead) {
  EXPECT_TRUE(rc::check("compiled equals naive", [] {
    auto count = *rc::gen::inRange<size_t>(0, 200);
    std::vector<NumberedRule> rules;
    for (size_t i = 0; i < count; i++) {
      NumberedRule rule{*rc::gen::inRange<uint32_t>(0, 470),
                        *rc::gen::element(kActAllow, kActKill, ActErrno(1), ActErrno(38)),
                        {}};
      for (ArgCheck& check : rule.all_of)
        if (*rc::gen::inRange(0, 3) == 0)
          check = {static_cast<uint8_t>(*rc::gen::inRange(0, 6)),
                   *rc::gen::element<uint64_t>(0, 1, ~0ull, 0xffffffff, 1ull << 40),
                   *rc::gen::element<uint64_t>(0, 1, 1ull << 40, 0xffffffff)};
      rules.push_back(rule);
    }
    auto sorted = rules;
    FilterBuffer filter;
    if (!CompileFilter(sorted, kActKill, filter)) {
      RC_ASSERT(filter.length > kMaxFilterLength - 64);
      return;
    }
    for (const seccomp_data& data : Probes(rules))
      RC_ASSERT(RunBpf(Code(filter.View()), data) == Naive(rules, kActKill, data));
  }));
}

}  // namespace
}  // namespace msb::jail
