// SPDX-License-Identifier: Apache-2.0
// System calls and those of their arguments on which a policy decides, by name: what a refused call
// is told as, and what the rules of a profile say.
//
//   socket family=AF_NETLINK protocol=NETLINK_AUDIT        clone flags=CLONE_NEWUSER|CLONE_NEWNS
//
// All of them are integers of 32 bits to the kernel, or flags of which only the low half counts.

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "jail/seccomp_compiler.h"

namespace msb::box {

struct NamedValue {
  std::string_view name;
  uint32_t value;
};

struct CallArgument {
  std::string_view call, name;
  uint8_t index;               // Of the call's six.
  uint32_t mask = UINT32_MAX;  // The bits that count.
  bool flags = false;          // Written as names joined by |, or 0.
  bool decides = true;         // The default policy looks at it.
  std::span<const NamedValue> names = {};
};

inline constexpr size_t kMaxArgumentsOfCall = 3;
static_assert(kMaxArgumentsOfCall <= jail::kMaxChecks);

std::span<const CallArgument> CallArguments();
const CallArgument* FindCallArgument(std::string_view call, std::string_view name);

// "AF_ALG", "CLONE_NEWUSER|CLONE_NEWNS", "0x2000".
std::string FormatArgument(const CallArgument& argument, uint64_t value);
// A name, names joined by | of flags, decimal or 0x-hexadecimal. kInvalidArgument with a remedy.
Result<uint32_t> ParseArgument(const CallArgument& argument, std::string_view text);

// A call and what of its arguments decided: calls of one kind are told and counted together.
struct CallKind {
  uint32_t number = 0;
  std::array<uint32_t, kMaxArgumentsOfCall> values{};  // Of its CallArguments(), in their order.

  friend bool operator==(const CallKind&, const CallKind&) = default;
};
CallKind KindOf(uint32_t number, const std::array<uint64_t, 6>& arguments);

// "socket", or "call 999" for what our table has no name for.
std::string CallName(uint32_t number);
bool CallIsKnown(uint32_t number);
// "family=AF_ALG"; empty when no argument decided.
std::string KindArguments(const CallKind& kind);
// The checks under which a rule is about calls of this kind alone.
std::array<jail::ArgCheck, jail::kMaxChecks> KindChecks(const CallKind& kind);

}  // namespace msb::box
