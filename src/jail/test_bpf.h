// SPDX-License-Identifier: Apache-2.0
// For tests and fuzzing: runs a seccomp filter as the kernel would, and the rules one by one as a
// reader would.

#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstring>
#include <optional>
#include <span>

#include "jail/seccomp_compiler.h"

namespace msb::jail {

// nullopt: a jump or load outside, or an instruction that seccomp filters do not use.
inline std::optional<uint32_t> RunBpf(std::span<const sock_filter> code, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < code.size(); at++) {
    const sock_filter& op = code[at];
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (op.k % 4 != 0 || op.k + 4 > sizeof data) return std::nullopt;
        // SAFETY: the bounds are checked above; the bytes of a plain struct.
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + op.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= op.k;
        break;
      case BPF_JMP | BPF_JA:
        at += op.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > op.k ? op.jt : op.jf;
        break;
      case BPF_RET | BPF_K:
        return op.k;
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

inline uint32_t Naive(std::span<const NumberedRule> rules, uint32_t fallback,
                      const seccomp_data& data) {
  if (data.arch != kAuditArch || static_cast<uint32_t>(data.nr) >= kForeignNumbers) return kActKill;
  for (const NumberedRule& rule : rules) {
    if (rule.number != static_cast<uint32_t>(data.nr)) continue;
    bool holds = true;
    for (const ArgCheck& check : rule.all_of)
      holds = holds && (data.args[check.arg] & check.mask) == check.value;
    if (holds) return rule.action;
  }
  return fallback;
}

}  // namespace msb::jail
