// SPDX-License-Identifier: Apache-2.0
#include "jail/box/call_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/text.h"
#include "jail/box/call_arguments.h"
#include "jail/box/policy.h"
#include "jail/box/refusals.h"
#include "jail/test_bpf.h"

namespace msb::box {
namespace {

using testing::HasSubstr;
using Arguments = std::array<uint64_t, 6>;

uint32_t Number(std::string_view call) { return static_cast<uint32_t>(jail::SyscallNumber(call)); }

uint32_t Ask(const jail::Filter& filter, uint32_t number, const Arguments& arguments) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = jail::kAuditArch;
  std::copy(arguments.begin(), arguments.end(), std::begin(data.args));
  return jail::RunBpf(filter.code, data).value_or(~0u);
}

CallRule Rule(bool allow, const char* call, const char* argument = nullptr,
              const char* value = nullptr) {
  CallRule rule{.allow = allow, .call = call, .origin = allow ? "line 1" : "line 2"};
  if (argument != nullptr) {
    const CallArgument* found = FindCallArgument(call, argument);
    rule.all_of[0] = {found->index, found->mask, *ParseArgument(*found, value)};
  }
  return rule;
}

// Arguments that the default policy or a rule may ask about.
std::vector<Arguments> Samples() {
  std::vector<Arguments> samples;
  for (uint64_t first : {0ull, 1ull, 2ull, 8ull, 10ull, 16ull, 35ull, 38ull, 40ull, 0x40000ull,
                         0xffffffffull, ~0ull, 0x10000011ull})
    for (uint64_t second : {0ull, 3ull, 0x5412ull, 0x541cull, 0xffffffff'00005412ull})
      for (uint64_t third : {0ull, 12ull}) samples.push_back({first, second, third, 0, 0, 0});
  return samples;
}

TEST(CallPolicy, DecidesAsItsFilterDoes) {
  auto policy = *CallPolicy::Create(
      {Rule(true, "personality"), Rule(false, "getpid"), Rule(true, "socket", "family", "AF_ALG"),
       Rule(false, "socket", "family", "AF_INET6"), Rule(true, "clone", "flags", "CLONE_NEWUSER")});
  auto filter = *policy.Compile(OnRefusal::kAnswer);
  auto asks = *policy.Compile(OnRefusal::kAsk);
  for (uint32_t number = 0; number < 500; number++) {
    for (const Arguments& arguments : Samples()) {
      int error = policy.Decide(number, arguments).error;
      uint32_t action = error == 0 ? jail::kActAllow : jail::ActErrno(static_cast<uint32_t>(error));
      ASSERT_EQ(Ask(filter.View(), number, arguments), action) << number;
      uint32_t asked = Ask(asks.View(), number, arguments);
      uint32_t asks_about = number == Number("clone3") ? jail::ActErrno(ENOSYS) : jail::kActAsk;
      ASSERT_EQ(asked, error == 0 ? jail::kActAllow : asks_about) << number;
    }
  }
}

TEST(CallPolicy, WithoutChangesIsTheDefault) {
  auto filter = *(*CallPolicy::Create({})).Compile(OnRefusal::kAnswer);
  for (uint32_t number = 0; number < 500; number++)
    for (const Arguments& arguments : Samples())
      ASSERT_EQ(Ask(filter.View(), number, arguments), Ask(kDefaultFilter, number, arguments))
          << number;
}

TEST(CallPolicy, TheRuleWithMoreConditionsGoesFirst) {
  auto policy = *CallPolicy::Create(
      {Rule(false, "socket"), Rule(true, "socket", "family", "AF_UNIX"), Rule(true, "ptrace")});
  EXPECT_EQ(policy.Decide(Number("socket"), {AF_UNIX}).error, 0);
  EXPECT_EQ(policy.Decide(Number("socket"), {AF_INET}).error, EPERM);
  EXPECT_TRUE(policy.Decide(Number("socket"), {AF_INET}).by_rule);
  EXPECT_FALSE(policy.Decide(Number("bpf"), {}).by_rule);
  EXPECT_EQ(policy.Decide(Number("bpf"), {}).error, EPERM);
  EXPECT_EQ(policy.Decide(470'000, {}).error, ENOSYS);
}

TEST(CallPolicy, ContradictionsAreNamedWithWhereTheyWereSaid) {
  auto both = CallPolicy::Create({Rule(true, "bpf"), Rule(false, "bpf")});
  EXPECT_EQ(both.error().message(), "bpf is both allowed (line 1) and denied (line 2)");
  EXPECT_FALSE(CallPolicy::Create(
      {Rule(true, "socket", "family", "AF_ALG"), Rule(false, "socket", "family", "38")}));
  // The command line speaks of the whole call.
  CallRule line{.allow = false, .call = "socket", .whole = true, .origin = "--deny-syscall"};
  auto apart = CallPolicy::Create({Rule(true, "socket", "family", "AF_ALG"), line});
  EXPECT_THAT(apart.error().message(), HasSubstr("denied (--deny-syscall)"));
  EXPECT_TRUE(CallPolicy::Create({line, line, Rule(false, "socket", "family", "AF_ALG")}));
}

TEST(CallPolicy, UnknownCallsAreNamedWithWhatWasMeant) {
  auto unknown = CallPolicy::Create({Rule(true, "ptrce")});
  EXPECT_THAT(unknown.error().message(), HasSubstr("line 1: unknown system call ptrce"));
  EXPECT_EQ(unknown.error().remedy(), "did you mean ptrace?");
  EXPECT_THAT(CallPolicy::Create({Rule(true, "")}).error().remedy(), HasSubstr("man 2 syscalls"));
}

TEST(CallPolicy, WhatTheStartNeedsIsNotAskedAbout) {
  for (const char* call : {"sendmsg", "execve", "write", "exit_group"}) {
    auto policy = *CallPolicy::Create({Rule(false, call)});
    EXPECT_TRUE(policy.Compile(OnRefusal::kAnswer).ok());
    EXPECT_THAT(policy.Compile(OnRefusal::kAsk).error().message(), HasSubstr(call));
  }
}

TEST(CallPolicy, TooManyRulesAreRefused) {
  std::vector<CallRule> many;
  for (int i = 100; i < 1000; i++)
    many.push_back(Rule(true, "personality", "persona", Cat(i).c_str()));
  EXPECT_THAT(CallPolicy::Create(many)->Compile(OnRefusal::kAnswer).error().message(),
              HasSubstr("more rules"));
}

TEST(CallArguments, AreWrittenAndReadByName) {
  const CallArgument* family = FindCallArgument("socket", "family");
  const CallArgument* flags = FindCallArgument("clone", "flags");
  EXPECT_EQ(FormatArgument(*family, AF_ALG), "AF_ALG");
  EXPECT_EQ(FormatArgument(*family, 0xffffffff'00000026ull), "AF_ALG");
  EXPECT_EQ(FormatArgument(*family, 200), "0xc8");
  EXPECT_EQ(FormatArgument(*flags, CLONE_NEWUSER | CLONE_NEWNS | 17), "CLONE_NEWNS|CLONE_NEWUSER");
  EXPECT_EQ(FormatArgument(*flags, 17), "0");
  for (const CallArgument& argument : CallArguments()) {
    for (uint64_t value : {0ull, 1ull, 17ull, 0x10020000ull, 0xfffffffull}) {
      value &= argument.mask;
      EXPECT_EQ(*ParseArgument(argument, FormatArgument(argument, value)), value) << argument.call;
    }
    for (const NamedValue& named : argument.names)
      EXPECT_EQ(FormatArgument(argument, named.value), named.name);
  }
}

TEST(CallArguments, BadValuesAreNamedWithWhatWasMeant) {
  const CallArgument* family = FindCallArgument("socket", "family");
  EXPECT_EQ(ParseArgument(*family, "AF_AGL").error().remedy(), "did you mean AF_ALG?");
  for (const char* bad : {"", "0x", "x", "-1", "4294967296", "1|2", "0x1g"})
    EXPECT_FALSE(ParseArgument(*family, bad)) << bad;
  // A bit that does not count: the rule would never hold.
  EXPECT_FALSE(ParseArgument(*FindCallArgument("socket", "type"), "0x80001"));
  EXPECT_FALSE(ParseArgument(*FindCallArgument("clone", "flags"), "CLONE_NEWNS|"));
}

TEST(CallKind, IsWhatDecided) {
  EXPECT_EQ(KindText(KindOf(Number("socket"), {AF_ALG, 5, 7})), "socket family=AF_ALG");
  EXPECT_EQ(KindText(KindOf(Number("socket"), {AF_NETLINK, 3, 9})),
            "socket family=AF_NETLINK protocol=NETLINK_AUDIT");
  EXPECT_EQ(KindText(KindOf(Number("ptrace"), {16, 1})), "ptrace");
  EXPECT_EQ(KindText(KindOf(999, {1, 2, 3})), "call 999");
  EXPECT_EQ(KindOf(Number("socket"), {AF_ALG, 5, 7}), KindOf(Number("socket"), {AF_ALG, 2, 0}));
}

TEST(CallKind, AsARuleAllowsThatKindAlone) {
  for (const Arguments& arguments : Samples()) {
    for (const char* call : {"socket", "clone", "personality", "ioctl", "prctl", "bpf"}) {
      CallKind kind = KindOf(Number(call), arguments);
      auto before = *CallPolicy::Create({});
      auto after = *CallPolicy::Create({{.call = call, .all_of = KindChecks(kind)}});
      EXPECT_EQ(after.Decide(Number(call), arguments).error, 0) << KindText(kind);
      for (const Arguments& other : Samples()) {
        if (KindOf(Number(call), other) == kind) continue;
        EXPECT_EQ(after.Decide(Number(call), other).error,
                  before.Decide(Number(call), other).error);
      }
    }
  }
}

TEST(RefusalTable, CountsKindsAndIsBounded) {
  RefusalTable table;
  EXPECT_TRUE(table.Note({1, {}}, EPERM, false));
  EXPECT_FALSE(table.Note({1, {}}, EPERM, false));
  EXPECT_EQ(table.kinds()[0].count, 2u);
  for (uint32_t i = 0; i < 1000; i++) table.Note({2, {i}}, EPERM, false);
  EXPECT_EQ(table.kinds().size(), RefusalTable::kMaxKinds);
  EXPECT_EQ(table.others(), 1000 - (RefusalTable::kMaxKinds - 1));
  EXPECT_EQ(ErrorName(EAFNOSUPPORT), "EAFNOSUPPORT");
}

}  // namespace
}  // namespace msb::box
