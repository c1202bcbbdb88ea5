// SPDX-License-Identifier: Apache-2.0
// Seccomp filters from rules, at compile time.
//
// A filter runs at each system call, so its length on the hot path is what counts: calls are found
// by a balanced search over number ranges (about log2 of the ranges, 7 or 8 jumps), never by a
// chain. Layout:
//
//     architecture is ours? else kill        a 32-bit or x32 call has other numbers and arguments:
//     x32 bit in the number?  then kill      judging it by our table would be guessing
//     search: jge middle, right half, left half
//     leaf: return an action, or argument checks of each rule of that call in order
//
// Arguments are 64 bits and BPF loads 32, so a check is two loads; a half that the mask ignores
// costs nothing. A conditional jump reaches 255 instructions: a longer way is a `ja` in between.

#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "jail/syscall_table.h"

namespace msb::jail {

// SECCOMP_RET_* with its data.
inline constexpr uint32_t kActAllow = SECCOMP_RET_ALLOW;
inline constexpr uint32_t kActKill = SECCOMP_RET_KILL_PROCESS;
inline constexpr uint32_t kActAsk = SECCOMP_RET_USER_NOTIF;
constexpr uint32_t ActErrno(uint32_t err) { return SECCOMP_RET_ERRNO | (err & 0xffff); }

// True when (args[arg] & mask) == value. The default is true for every argument.
struct ArgCheck {
  uint8_t arg = 0;
  uint64_t mask = 0;
  uint64_t value = 0;
};
// The kernel reads an `int` argument from the low half alone: the high half must not matter.
constexpr ArgCheck Int(uint8_t arg, uint32_t value) { return {arg, 0xffff'ffff, value}; }
constexpr ArgCheck Bits(uint8_t arg, uint64_t mask, uint64_t value) { return {arg, mask, value}; }

inline constexpr size_t kMaxChecks = 3;

// Rules of one call are asked in order; the first whose checks all hold decides. None: the default.
struct NumberedRule {
  uint32_t number;
  uint32_t action;
  std::array<ArgCheck, kMaxChecks> all_of;
};

inline constexpr size_t kMaxRules = 640;
inline constexpr size_t kMaxFilterLength = 1536;  // BPF_MAXINSNS is 4096.

// A compiled policy: its instructions, which live elsewhere.
struct Filter {
  std::span<const sock_filter> code;
  uint16_t length = 0;  // As the kernel takes it.
};

// What the compiler writes into.
struct FilterBuffer {
  std::array<sock_filter, kMaxFilterLength> code{};
  uint16_t length = 0;

  constexpr Filter View() const { return {std::span(code).first(length), length}; }
};

#if defined(__x86_64__)
inline constexpr uint32_t kAuditArch = AUDIT_ARCH_X86_64;
inline constexpr uint32_t kForeignNumbers = 0x4000'0000;  // __X32_SYSCALL_BIT and negative numbers.
#elif defined(__aarch64__)
inline constexpr uint32_t kAuditArch = AUDIT_ARCH_AARCH64;
inline constexpr uint32_t kForeignNumbers = 0x8000'0000;
#endif

namespace internal {

// Assembles into a FilterBuffer; `overflow` instead of writing past the end.
class Assembler {
 public:
  constexpr explicit Assembler(std::span<const NumberedRule> sorted, uint32_t fallback)
      : rules_(sorted), fallback_(fallback) {}

  constexpr bool Run(FilterBuffer& out) {
    out_ = &out;
    if (!BuildRanges()) return false;
    Emit(BPF_LD | BPF_W | BPF_ABS, 4);  // seccomp_data.arch
    Emit(BPF_JMP | BPF_JEQ | BPF_K, kAuditArch, 1, 0);
    Emit(BPF_RET | BPF_K, kActKill);
    Emit(BPF_LD | BPF_W | BPF_ABS, 0);  // seccomp_data.nr
    Emit(BPF_JMP | BPF_JGE | BPF_K, kForeignNumbers, 0, 1);
    Emit(BPF_RET | BPF_K, kActKill);
    EmitTree(0, range_count_);
    return !overflow_;
  }

 private:
  // From `start` up to the next range's start. `rule_count` 0: the plain action.
  struct Range {
    uint32_t start = 0;
    uint32_t action = 0;
    uint16_t first_rule = 0;
    uint16_t rule_count = 0;
    uint16_t size = 0;  // Of the leaf's code.
  };

  static constexpr bool Unconditional(const NumberedRule& rule) {
    for (const ArgCheck& check : rule.all_of)
      if (check.mask != 0 || check.value != 0) return false;
    return true;
  }

  constexpr void AddRange(Range range) {
    // Two calls in a row: the gap between them is empty.
    if (range_count_ > 0 && ranges_[range_count_ - 1].start == range.start) range_count_--;
    if (range_count_ > 0) {
      const Range& last = ranges_[range_count_ - 1];
      if (last.rule_count == 0 && range.rule_count == 0 && last.action == range.action) return;
    }
    ranges_[range_count_++] = range;
  }

  constexpr bool BuildRanges() {
    if (rules_.size() > kMaxRules) return false;
    AddRange({0, fallback_, 0, 0, 1});
    for (size_t i = 0; i < rules_.size();) {
      size_t end = i;
      while (end < rules_.size() && rules_[end].number == rules_[i].number) end++;
      if (rules_[i].number >= kForeignNumbers) return false;
      Range range{rules_[i].number, rules_[i].action, 0, 0, 1};
      if (!Unconditional(rules_[i])) {
        range.first_rule = static_cast<uint16_t>(i);
        range.rule_count = static_cast<uint16_t>(end - i);
        range.size = static_cast<uint16_t>(GroupSize(range));
      }
      AddRange(range);
      AddRange({rules_[i].number + 1, fallback_, 0, 0, 1});
      i = end;
    }
    return true;
  }

  static constexpr size_t HalfSize(uint32_t mask, uint32_t value) {
    if (mask == 0 && value == 0) return 0;
    return mask == 0xffff'ffff ? 2 : 3;
  }
  static constexpr size_t RuleSize(const NumberedRule& rule) {
    size_t size = 1;
    for (const ArgCheck& check : rule.all_of)
      size += HalfSize(Low(check.mask), Low(check.value)) +
              HalfSize(High(check.mask), High(check.value));
    return size;
  }
  constexpr size_t GroupSize(const Range& range) const {
    size_t size = 0;
    for (size_t i = 0; i < range.rule_count; i++) {
      const NumberedRule& rule = rules_[range.first_rule + i];
      size += RuleSize(rule);
      if (Unconditional(rule)) return size;
    }
    return size + 1;
  }

  constexpr size_t TreeSize(size_t begin, size_t end) const {
    if (end - begin == 1) return ranges_[begin].size;
    size_t middle = begin + (end - begin) / 2;
    size_t left = TreeSize(begin, middle);
    return left + TreeSize(middle, end) + (left > 255 ? 2 : 1);
  }

  constexpr void EmitTree(size_t begin, size_t end) {
    if (end - begin == 1) return EmitLeaf(ranges_[begin]);
    size_t middle = begin + (end - begin) / 2;
    size_t left = TreeSize(begin, middle);
    if (left > 255) {
      Emit(BPF_JMP | BPF_JGE | BPF_K, ranges_[middle].start, 0, 1);
      Emit(BPF_JMP | BPF_JA, static_cast<uint32_t>(left));
    } else {
      Emit(BPF_JMP | BPF_JGE | BPF_K, ranges_[middle].start, static_cast<uint8_t>(left), 0);
    }
    EmitTree(begin, middle);
    EmitTree(middle, end);
  }

  constexpr void EmitLeaf(const Range& range) {
    for (size_t i = 0; i < range.rule_count; i++) {
      const NumberedRule& rule = rules_[range.first_rule + i];
      size_t left = RuleSize(rule);
      for (const ArgCheck& check : rule.all_of) {
        EmitHalf(check.arg, 0, Low(check.mask), Low(check.value), left);
        EmitHalf(check.arg, 4, High(check.mask), High(check.value), left);
      }
      Emit(BPF_RET | BPF_K, rule.action);
      if (Unconditional(rule)) return;
    }
    Emit(BPF_RET | BPF_K, range.rule_count == 0 ? range.action : fallback_);
  }

  // `left` counts down what remains of the rule: a failed check jumps past it.
  constexpr void EmitHalf(uint8_t arg, uint32_t half, uint32_t mask, uint32_t value, size_t& left) {
    size_t size = HalfSize(mask, value);
    if (size == 0) return;
    Emit(BPF_LD | BPF_W | BPF_ABS, 16 + 8u * arg + half);  // seccomp_data.args
    if (size == 3) Emit(BPF_ALU | BPF_AND | BPF_K, mask);
    left -= size;
    Emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<uint8_t>(left));
  }

  constexpr void Emit(uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) {
    if (out_->length == kMaxFilterLength) {
      overflow_ = true;
      return;
    }
    out_->code[out_->length++] = {code, jt, jf, k};
  }

  static constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
  static constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

  std::span<const NumberedRule> rules_;
  uint32_t fallback_;
  FilterBuffer* out_ = nullptr;
  bool overflow_ = false;
  size_t range_count_ = 0;
  std::array<Range, 2 * kMaxRules + 1> ranges_{};
};

}  // namespace internal

// False when the rules do not fit. Arguments are 0 to 5. `rules` is sorted in place by number; the
// order within one number is kept.
constexpr bool CompileFilter(std::span<NumberedRule> rules, uint32_t fallback, FilterBuffer& out) {
  // Insertion sort: stable, and policies are written nearly in order.
  for (size_t i = 1; i < rules.size(); i++) {
    for (size_t j = i; j > 0 && rules[j - 1].number > rules[j].number; j--)
      std::swap(rules[j - 1], rules[j]);
  }
  for (const NumberedRule& rule : rules)
    for (const ArgCheck& check : rule.all_of)
      if (check.arg > 5) return false;
  out.length = 0;
  return internal::Assembler(rules, fallback).Run(out);
}

// A policy as people write it. `why` is for the reader: beside each call that surprises.
struct Rule {
  std::string_view call;
  std::string_view why = {};
  uint32_t action = kActAllow;
  std::array<ArgCheck, kMaxChecks> all_of = {};
};

// Not constexpr: reaching them in a constant expression is the compiler's error message.
void PolicyNamesUnknownCall();
void PolicyDoesNotFit();

namespace internal {

template <const auto& kRules>
consteval FilterBuffer CompileRules(uint32_t fallback) {
  std::array<NumberedRule, std::size(kRules)> numbered{};
  size_t count = 0;
  for (const Rule& rule : kRules) {
    int number = SyscallNumber(rule.call);
    if (number == kUnknownSyscall) PolicyNamesUnknownCall();
    if (number < 0) continue;
    numbered[count++] = {static_cast<uint32_t>(number), rule.action, rule.all_of};
  }
  FilterBuffer filter;
  if (!CompileFilter(std::span(numbered).first(count), fallback, filter)) PolicyDoesNotFit();
  return filter;
}

// As many instructions as there are: a program carries those alone.
template <const auto& kRules, uint32_t kFallback>
consteval auto CompiledCode() {
  constexpr FilterBuffer kWhole = CompileRules<kRules>(kFallback);
  std::array<sock_filter, kWhole.length> code{};
  std::copy_n(kWhole.code.begin(), code.size(), code.begin());
  return code;
}
template <const auto& kRules, uint32_t kFallback>
inline constexpr auto kCompiledCode = CompiledCode<kRules, kFallback>();

}  // namespace internal

// Compiles at compile time: `constinit const Filter kX = CompilePolicy<kXRules, kActKill>();`.
// Calls that this architecture lacks are left out; a misspelt one does not compile.
template <const auto& kRules, uint32_t kFallback>
consteval Filter CompilePolicy() {
  const auto& code = internal::kCompiledCode<kRules, kFallback>;
  return {code, static_cast<uint16_t>(code.size())};
}

}  // namespace msb::jail
