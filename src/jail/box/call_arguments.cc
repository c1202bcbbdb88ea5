// SPDX-License-Identifier: Apache-2.0
// Names of arguments and values as the kernel's headers have them.

#include "jail/box/call_arguments.h"

#include <linux/netlink.h>
#include <linux/personality.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/text.h"
#include "jail/box/policy.h"

namespace msb::box {
namespace {

constexpr NamedValue kFamilies[] = {{"AF_UNIX", AF_UNIX},       {"AF_INET", AF_INET},
                                    {"AF_AX25", AF_AX25},       {"AF_IPX", AF_IPX},
                                    {"AF_X25", AF_X25},         {"AF_INET6", AF_INET6},
                                    {"AF_KEY", AF_KEY},         {"AF_NETLINK", AF_NETLINK},
                                    {"AF_PACKET", AF_PACKET},   {"AF_RDS", AF_RDS},
                                    {"AF_LLC", AF_LLC},         {"AF_CAN", AF_CAN},
                                    {"AF_TIPC", AF_TIPC},       {"AF_BLUETOOTH", AF_BLUETOOTH},
                                    {"AF_ALG", AF_ALG},         {"AF_NFC", AF_NFC},
                                    {"AF_VSOCK", AF_VSOCK},     {"AF_KCM", AF_KCM},
                                    {"AF_QIPCRTR", AF_QIPCRTR}, {"AF_SMC", AF_SMC},
                                    {"AF_XDP", AF_XDP},         {"AF_MCTP", 45}};
constexpr NamedValue kTypes[] = {{"SOCK_STREAM", SOCK_STREAM},
                                 {"SOCK_DGRAM", SOCK_DGRAM},
                                 {"SOCK_RAW", SOCK_RAW},
                                 {"SOCK_SEQPACKET", SOCK_SEQPACKET}};
constexpr uint32_t kTypeBits =
    0xf;  // SOCK_TYPE_MASK: beside it are SOCK_CLOEXEC and SOCK_NONBLOCK.
constexpr NamedValue kNetlink[] = {{"NETLINK_ROUTE", NETLINK_ROUTE},
                                   {"NETLINK_USERSOCK", NETLINK_USERSOCK},
                                   {"NETLINK_SOCK_DIAG", NETLINK_SOCK_DIAG},
                                   {"NETLINK_XFRM", NETLINK_XFRM},
                                   {"NETLINK_SELINUX", NETLINK_SELINUX},
                                   {"NETLINK_AUDIT", NETLINK_AUDIT},
                                   {"NETLINK_CONNECTOR", NETLINK_CONNECTOR},
                                   {"NETLINK_NETFILTER", NETLINK_NETFILTER},
                                   {"NETLINK_KOBJECT_UEVENT", NETLINK_KOBJECT_UEVENT},
                                   {"NETLINK_GENERIC", NETLINK_GENERIC},
                                   {"NETLINK_CRYPTO", NETLINK_CRYPTO}};
constexpr NamedValue kRequests[] = {{"TIOCSTI", TIOCSTI}, {"TIOCLINUX", TIOCLINUX}};
constexpr NamedValue kNamespaces[] = {
    {"CLONE_NEWTIME", CLONE_NEWTIME},     {"CLONE_NEWNS", CLONE_NEWNS},
    {"CLONE_NEWCGROUP", CLONE_NEWCGROUP}, {"CLONE_NEWUTS", CLONE_NEWUTS},
    {"CLONE_NEWIPC", CLONE_NEWIPC},       {"CLONE_NEWUSER", CLONE_NEWUSER},
    {"CLONE_NEWPID", CLONE_NEWPID},       {"CLONE_NEWNET", CLONE_NEWNET}};
constexpr NamedValue kPersonas[] = {{"PER_LINUX", PER_LINUX},
                                    {"PER_LINUX32", PER_LINUX32},
                                    {"UNAME26", UNAME26},
                                    {"ADDR_NO_RANDOMIZE", ADDR_NO_RANDOMIZE},
                                    {"MMAP_PAGE_ZERO", MMAP_PAGE_ZERO},
                                    {"ADDR_COMPAT_LAYOUT", ADDR_COMPAT_LAYOUT},
                                    {"READ_IMPLIES_EXEC", READ_IMPLIES_EXEC},
                                    {"ADDR_LIMIT_32BIT", ADDR_LIMIT_32BIT},
                                    {"ADDR_LIMIT_3GB", ADDR_LIMIT_3GB}};
constexpr NamedValue kProcessOptions[] = {{"PR_SET_MM", PR_SET_MM}};

constexpr CallArgument kArguments[] = {
    {.call = "socket", .name = "family", .index = 0, .names = kFamilies},
    {.call = "socket",
     .name = "type",
     .index = 1,
     .mask = kTypeBits,
     .decides = false,
     .names = kTypes},
    {.call = "socket", .name = "protocol", .index = 2, .names = kNetlink},
    {.call = "socketpair", .name = "family", .index = 0, .names = kFamilies},
    {.call = "ioctl", .name = "request", .index = 1, .names = kRequests},
    {.call = "clone",
     .name = "flags",
     .index = 0,
     .mask = static_cast<uint32_t>(kNamespaceFlags),
     .flags = true,
     .names = kNamespaces},
    {.call = "personality", .name = "persona", .index = 0, .names = kPersonas},
    {.call = "prctl", .name = "option", .index = 0, .names = kProcessOptions},
};

std::string_view FindName(uint32_t number) {
  for (const jail::SyscallEntry& entry : jail::kSyscalls)
    if (entry.*jail::kNumberColumn >= 0 &&
        static_cast<uint32_t>(entry.*jail::kNumberColumn) == number)
      return entry.name;
  return {};
}

// The policy asks for the protocol of netlink alone.
bool Told(const CallArgument& argument, uint32_t family) {
  return argument.decides && (argument.name != "protocol" || family == AF_NETLINK);
}

// Calls `each` with those arguments of the kind that decided, and their values.
template <class Each>
void ForEach(const CallKind& kind, const Each& each) {
  std::string_view call = FindName(kind.number);
  size_t at = 0;
  for (const CallArgument& argument : kArguments) {
    if (argument.call != call) continue;
    if (Told(argument, kind.values[0])) each(argument, kind.values[at]);
    at++;
  }
}

std::optional<uint32_t> ParseInteger(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
    base = 16;
  }
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint32_t> FindValue(const CallArgument& argument, std::string_view text) {
  for (const NamedValue& named : argument.names)
    if (named.name == text) return named.value;
  return ParseInteger(text);
}

}  // namespace

std::span<const CallArgument> CallArguments() { return kArguments; }

const CallArgument* FindCallArgument(std::string_view call, std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kArguments), std::end(kArguments),
                   [&](const CallArgument& one) { return one.call == call && one.name == name; });
  return found == std::end(kArguments) ? nullptr : found;
}

std::string FormatArgument(const CallArgument& argument, uint64_t value) {
  auto left = static_cast<uint32_t>(value) & argument.mask;
  std::string text;
  for (const NamedValue& named : argument.names) {
    if (!argument.flags && named.value == left) return std::string(named.name);
    if (!argument.flags || (left & named.value) == 0) continue;
    text += Cat(text.empty() ? "" : "|", named.name);
    left &= ~named.value;
  }
  if (left == 0 && !text.empty()) return text;
  char digits[16];
  auto end = std::to_chars(digits, digits + sizeof digits, left, 16).ptr;
  std::string number = left < 10 ? Cat(left) : Cat("0x", std::string_view(digits, end));
  return text.empty() ? number : Cat(text, "|", number);
}

Result<uint32_t> ParseArgument(const CallArgument& argument, std::string_view text) {
  uint32_t value = 0;
  size_t parts = 0;
  for (std::string_view rest = text;; parts++) {
    size_t bar = argument.flags ? rest.find('|') : std::string_view::npos;
    auto part = FindValue(argument, rest.substr(0, bar));
    if (!part || (*part & ~argument.mask) != 0) {
      std::vector<std::string> names;
      for (const NamedValue& named : argument.names) names.emplace_back(named.name);
      return Error(Code::kInvalidArgument, Cat(Escape(rest.substr(0, bar), 64), " is no ",
                                               argument.name, " of ", argument.call))
          .Remedy(DidYouMean(rest.substr(0, bar), names,
                             Cat("as in ", argument.names[0].name, ", or a number")));
    }
    value |= *part;
    if (bar == std::string_view::npos) return value;
    rest.remove_prefix(bar + 1);
  }
}

CallKind KindOf(uint32_t number, const std::array<uint64_t, 6>& arguments) {
  CallKind kind{number, {}};
  std::string_view call = FindName(number);
  size_t at = 0;
  for (const CallArgument& argument : kArguments) {
    if (argument.call != call) continue;
    auto value = static_cast<uint32_t>(arguments[argument.index]) & argument.mask;
    if (at == 0 || Told(argument, kind.values[0])) kind.values[at] = value;
    at++;
  }
  return kind;
}

std::string CallName(uint32_t number) {
  std::string_view name = FindName(number);
  return name.empty() ? Cat("call ", number) : std::string(name);
}

bool CallIsKnown(uint32_t number) { return !FindName(number).empty(); }

std::string KindArguments(const CallKind& kind) {
  std::string text;
  ForEach(kind, [&](const CallArgument& argument, uint32_t value) {
    text += Cat(text.empty() ? "" : " ", argument.name, "=", FormatArgument(argument, value));
  });
  return text;
}

std::array<jail::ArgCheck, jail::kMaxChecks> KindChecks(const CallKind& kind) {
  std::array<jail::ArgCheck, jail::kMaxChecks> checks{};
  size_t at = 0;
  ForEach(kind, [&](const CallArgument& argument, uint32_t value) {
    checks[at++] = {argument.index, argument.mask, value};
  });
  return checks;
}

}  // namespace msb::box
