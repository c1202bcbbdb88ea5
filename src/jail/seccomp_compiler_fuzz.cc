// SPDX-License-Identifier: Apache-2.0
// Fuzzes the seccomp compiler: a random policy must decide as its rules read, for random calls.

#include <cstdlib>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "jail/test_bpf.h"

using msb::jail::ArgCheck;
using msb::jail::NumberedRule;

namespace {

// Small numbers that often meet: otherwise no check would ever hold.
uint64_t Pick(uint8_t byte) {
  constexpr uint64_t kValues[] = {0, 1, 2, 0xff, 0xffff'ffff, ~0ull, 1ull << 32, 0x1'0000'0001};
  return kValues[byte % 8];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  auto next = [&]() -> uint8_t { return at < size ? data[at++] : 0; };
  constexpr uint32_t kActions[] = {msb::jail::kActAllow, msb::jail::kActKill,
                                   msb::jail::ActErrno(1), msb::jail::ActErrno(38)};
  uint32_t fallback = kActions[next() % 4];
  std::vector<NumberedRule> rules(next() * 2u);
  for (NumberedRule& rule : rules) {
    rule.number = next() * 2u + (next() & 1);
    uint8_t shape = next();
    rule.action = kActions[shape % 4];
    for (size_t i = 0; i < rule.all_of.size(); i++) {
      if ((shape >> (2 + i) & 1) == 0) continue;
      uint8_t arg = next();
      rule.all_of[i] = ArgCheck{static_cast<uint8_t>(arg % 6), Pick(next()), Pick(next())};
    }
  }
  auto sorted = rules;
  auto filter = std::make_unique<msb::jail::FilterBuffer>();
  if (!msb::jail::CompileFilter(sorted, fallback, *filter)) return 0;
  auto code = filter->View().code;
  for (int call = 0; call < 64; call++) {
    seccomp_data asked{};
    asked.arch = next() % 16 == 15 ? 0 : msb::jail::kAuditArch;
    asked.nr = rules.empty() ? next() : static_cast<int>(rules[next() % rules.size()].number);
    if (next() % 8 == 0) asked.nr += 1;
    for (auto& arg : asked.args) arg = Pick(next());
    auto decided = msb::jail::RunBpf(code, asked);
    if (!decided || *decided != msb::jail::Naive(rules, fallback, asked)) std::abort();
  }
  return 0;
}
