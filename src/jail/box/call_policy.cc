// SPDX-License-Identifier: Apache-2.0
// Puts a user's rules before those of the default policy.

#include "jail/box/call_policy.h"

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/text.h"
#include "jail/box/call_arguments.h"
#include "jail/box/policy.h"

namespace msb::box {
namespace {

using jail::ActErrno;
using jail::ArgCheck;
using jail::NumberedRule;

// Made by the command's process once the filter is in: asking about them would wait for a
// supervisor that waits for the start.
constexpr std::string_view kOfTheStart[] = {"sendmsg", "execve", "write", "exit_group"};

using Checks = std::array<ArgCheck, jail::kMaxChecks>;

bool IsCheck(const ArgCheck& check) { return check.mask != 0 || check.value != 0; }
auto CountChecks(const CallRule& rule) {
  return std::count_if(rule.all_of.begin(), rule.all_of.end(), IsCheck);
}
bool SameCheck(const ArgCheck& a, const ArgCheck& b) {
  return a.mask == b.mask && a.value == b.value && (a.arg == b.arg || !IsCheck(a));
}
bool SameCalls(const CallRule& a, const CallRule& b) {
  return a.call == b.call &&
         std::equal(a.all_of.begin(), a.all_of.end(), b.all_of.begin(), SameCheck);
}

Result<void> CheckContradictions(std::span<const CallRule> rules) {
  for (size_t i = 0; i < rules.size(); i++) {
    for (size_t j = 0; j < i; j++) {
      const CallRule &a = rules[j], &b = rules[i];
      if (a.call != b.call || a.allow == b.allow) continue;
      if (a.whole == b.whole && !SameCalls(a, b)) continue;
      const CallRule& allows = a.allow ? a : b;
      const CallRule& denies = a.allow ? b : a;
      return Error(Code::kInvalidArgument, Cat(a.call, " is both allowed (", allows.origin,
                                               ") and denied (", denies.origin, ")"))
          .Remedy("leave one of the two out");
    }
  }
  return {};
}

uint32_t OfCall(uint32_t number, uint32_t action, bool by_rule, OnRefusal on_refusal) {
  if (on_refusal == OnRefusal::kAnswer || action == jail::kActAllow) return action;
  bool clone3 = number == static_cast<uint32_t>(jail::SyscallNumber("clone3"));
  return clone3 && !by_rule ? action : jail::kActAsk;
}

}  // namespace

Result<void> CheckCallName(std::string_view name) {
  if (jail::SyscallNumber(name) != jail::kUnknownSyscall) return {};
  std::vector<std::string> names;
  for (const jail::SyscallEntry& entry : jail::kSyscalls) names.emplace_back(entry.name);
  return Error(Code::kInvalidArgument, Cat("unknown system call ", Escape(name, 64)))
      .Remedy(DidYouMean(name, names, "names are the kernel's: man 2 syscalls"));
}

Result<CallPolicy> CallPolicy::Create(const std::vector<CallRule>& changes) {
  for (const CallRule& rule : changes) TRY(CheckCallName(rule.call).Context(rule.origin));
  TRY(CheckContradictions(changes));
  CallPolicy policy;
  auto place = [&](std::string_view call, uint32_t action, const Checks& checks, bool by_rule) {
    int number = jail::SyscallNumber(call);
    if (number >= 0)
      policy.rules_.push_back({{static_cast<uint32_t>(number), action, checks}, by_rule});
  };
  auto is_first = [&](size_t at) {
    return std::none_of(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(at),
                        [&](const CallRule& one) { return SameCalls(one, changes[at]); });
  };
  for (auto checks = static_cast<ptrdiff_t>(jail::kMaxChecks); checks >= 0; checks--)
    for (bool allow : {false, true})
      for (size_t i = 0; i < changes.size(); i++)
        if (changes[i].allow == allow && CountChecks(changes[i]) == checks && is_first(i))
          place(changes[i].call, allow ? jail::kActAllow : ActErrno(EPERM), changes[i].all_of,
                true);
  auto replaced = [&](std::string_view call) {
    return std::any_of(changes.begin(), changes.end(), [&](const CallRule& one) {
      return one.call == call && CountChecks(one) == 0;
    });
  };
  for (const jail::Rule& rule : DefaultPolicy().rules)
    if (!replaced(rule.call)) place(rule.call, rule.action, rule.all_of, false);
  return policy;
}

Result<jail::FilterBuffer> CallPolicy::Compile(OnRefusal on_refusal) const {
  std::vector<NumberedRule> rules;
  rules.reserve(rules_.size());
  for (const Placed& placed : rules_) {
    rules.push_back(placed.rule);
    rules.back().action =
        OfCall(placed.rule.number, placed.rule.action, placed.by_rule, on_refusal);
  }
  for (std::string_view call : kOfTheStart) {
    auto number = static_cast<uint32_t>(jail::SyscallNumber(call));
    bool asks = std::any_of(rules.begin(), rules.end(), [&](const NumberedRule& one) {
      return one.number == number && one.action == jail::kActAsk;
    });
    if (asks)
      return Error(Code::kInvalidArgument, Cat(call, " is denied, and the start needs it"))
          .Remedy("leave --log-denied and --learn out, or the rule");
  }
  uint32_t fallback = DefaultPolicy().fallback;
  jail::FilterBuffer filter;
  if (!jail::CompileFilter(rules, on_refusal == OnRefusal::kAnswer ? fallback : jail::kActAsk,
                           filter))
    return Error(Code::kInvalidArgument, "more rules of system calls than a filter holds")
        .Remedy("allow calls as a whole, without arguments");
  return filter;
}

CallPolicy::Decision CallPolicy::Decide(uint32_t number,
                                        const std::array<uint64_t, 6>& arguments) const {
  auto of = [](uint32_t action, bool by_rule) -> Decision {
    bool allowed = action == jail::kActAllow;
    return {allowed ? 0 : static_cast<int>(action & SECCOMP_RET_DATA), by_rule};
  };
  for (const Placed& placed : rules_) {
    if (placed.rule.number != number) continue;
    bool holds = std::all_of(
        placed.rule.all_of.begin(), placed.rule.all_of.end(),
        [&](const ArgCheck& check) { return (arguments[check.arg] & check.mask) == check.value; });
    if (holds) return of(placed.rule.action, placed.by_rule);
  }
  return of(DefaultPolicy().fallback, false);
}

}  // namespace msb::box
