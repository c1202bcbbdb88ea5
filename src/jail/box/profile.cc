// SPDX-License-Identifier: Apache-2.0
// Reading and writing profiles, line by line.

#include "jail/box/profile.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "jail/box/call_arguments.h"

namespace msb::box {
namespace {

constexpr size_t kMaxLine = 512;

Error Bad(std::string_view message, std::string_view remedy) {
  return Error(Code::kInvalidArgument, std::string(message)).Remedy(remedy);
}

// Words between blanks, up to a comment. A carriage return is a blank: some editors leave it.
std::vector<std::string_view> Words(std::string_view line) {
  line = line.substr(0, line.find('#'));
  std::vector<std::string_view> words;
  for (size_t at = 0; at < line.size();) {
    size_t begin = line.find_first_not_of(" \t\r", at);
    if (begin == std::string_view::npos) break;
    at = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.push_back(line.substr(begin, at - begin));
  }
  return words;
}

Error NoSuchArgument(std::string_view call, std::string_view name) {
  std::vector<std::string> names;
  for (const CallArgument& argument : CallArguments())
    if (argument.call == call) names.emplace_back(argument.name);
  std::string message = Cat(call, " has no argument ", Escape(name, 64));
  if (names.empty()) return Bad(message, Cat("it can be allowed and denied as a whole: ", call));
  return Bad(message, DidYouMean(name, names, Cat("it has ", Join(names, ", "))));
}

Result<void> AddCondition(CallRule& rule, size_t count, std::string_view word) {
  size_t equals = word.find('=');
  if (equals == std::string_view::npos)
    return Bad(Cat(Escape(word, 64), " is no condition"), "as in socket family=AF_ALG");
  std::string_view name = word.substr(0, equals);
  const CallArgument* argument = FindCallArgument(rule.call, name);
  if (argument == nullptr) return NoSuchArgument(rule.call, name);
  for (size_t i = 0; i < count; i++)
    if (rule.all_of[i].arg == argument->index)
      return Bad(Cat(name, " is named twice"),
                 "one value for each argument; another rule for "
                 "another value");
  uint32_t value = TRY(ParseArgument(*argument, word.substr(equals + 1)));
  // As many arguments have names as there is room for checks, and none is named twice. They are in
  // one order: the same conditions are the same rule.
  jail::ArgCheck check{argument->index, argument->mask, value};
  for (size_t i = 0; i < count; i++)
    if (check.arg < rule.all_of[i].arg) std::swap(check, rule.all_of[i]);
  rule.all_of[count] = check;
  return {};
}

Result<CallRule> ParseRule(std::span<const std::string_view> words) {
  static const std::array<std::string, 2> kSenses = {"allow", "deny"};
  CallRule rule{.allow = words[0] == kSenses[0]};
  if (!rule.allow && words[0] != kSenses[1])
    return Bad(Cat("a rule does not begin with ", Escape(words[0], 64)),
               DidYouMean(words[0], kSenses, "allow CALL or deny CALL"));
  if (words.size() < 2) return Bad(Cat("no call after ", words[0]), "as in allow ptrace");
  TRY(CheckCallName(words[1]));
  rule.call = std::string(words[1]);
  for (size_t i = 2; i < words.size(); i++) TRY(AddCondition(rule, i - 2, words[i]));
  return rule;
}

std::string Conditions(const CallRule& rule) {
  std::string text;
  for (const CallArgument& argument : CallArguments())
    for (const jail::ArgCheck& check : rule.all_of)
      if (argument.call == rule.call && check.mask != 0 && check.arg == argument.index)
        text += Cat(" ", argument.name, "=", FormatArgument(argument, check.value));
  return text;
}

struct Kept {
  std::string_view why;
  std::span<const std::string_view> calls;
};
constexpr std::string_view kNamespaces[] = {"clone", "unshare", "setns"};
constexpr std::string_view kMounts[] = {"mount",      "umount2",       "pivot_root",    "open_tree",
                                        "move_mount", "fsopen",        "fsconfig",      "fsmount",
                                        "fspick",     "mount_setattr", "open_tree_attr"};
constexpr std::string_view kKeys[] = {"add_key", "request_key", "keyctl"};
constexpr std::string_view kRings[] = {"io_uring_setup", "io_uring_enter", "io_uring_register"};
constexpr std::string_view kKernel[] = {"bpf", "perf_event_open"};
constexpr std::string_view kLog[] = {"syslog"};
constexpr std::string_view kHandles[] = {"open_by_handle_at"};
constexpr std::string_view kTerminals[] = {"ioctl"};
constexpr std::string_view kHost[] = {
    "kexec_load",  "kexec_file_load", "init_module",   "finit_module", "delete_module",
    "reboot",      "swapon",          "swapoff",       "acct",         "quotactl",
    "quotactl_fd", "settimeofday",    "clock_settime", "iopl",         "ioperm",
    "vhangup",     "nfsservctl"};
constexpr Kept kKept[] = {
    {"a namespace of its own gives it every capability there", kNamespaces},
    {"mounts are what keeps the host's files out", kMounts},
    {"the caller's keys are in no namespace, and the host runs a program for them", kKeys},
    {"what it then does, sockets of every family among it, no rule sees", kRings},
    {"it works in the kernel itself, for which there are no namespaces", kKernel},
    {"the kernel's log is the host's", kLog},
    {"it opens files by number, whatever the root is", kHandles},
    {"it types into the terminal, which may be the caller's", kTerminals},
    {"it changes the host", kHost},
};
consteval bool AllKnown() {
  for (const Kept& kept : kKept)
    for (std::string_view call : kept.calls)
      if (jail::SyscallNumber(call) == jail::kUnknownSyscall) return false;
  return true;
}
static_assert(AllKnown());
// Families of sockets that a network namespace or nothing outside the caller holds.
constexpr std::string_view kHeldFamilies[] = {"AF_NETLINK", "AF_PACKET", "AF_ALG"};

}  // namespace

Result<std::vector<CallRule>> ParseProfile(std::string_view text) {
  if (text.size() > kMaxProfileBytes)
    return Bad("the profile is too long", Cat("at most ", kMaxProfileBytes, " bytes"));
  std::vector<CallRule> rules;
  for (size_t number = 1; !text.empty(); number++) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::string where = Cat("line ", number);
    if (line.size() > kMaxLine)
      return Bad(Cat(where, " is too long"), Cat("at most ", kMaxLine, " bytes"));
    auto words = Words(line);
    if (words.empty()) continue;
    if (rules.size() == kMaxProfileRules)
      return Bad(Cat(where, ": too many rules"), Cat("at most ", kMaxProfileRules));
    CallRule rule = TRY(ParseRule(words).Context(where));
    rule.origin = where;
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::string FormatRule(const CallRule& rule) {
  return Cat(rule.allow ? "allow " : "deny ", rule.call, Conditions(rule));
}

std::string_view WhyNotLearnt(const CallKind& kind) {
  if (!CallIsKnown(kind.number)) return "microbox has no name for it";
  std::string call = CallName(kind.number);
  if (call == "socket" || call == "socketpair") {
    std::string family = FormatArgument(*FindCallArgument(call, "family"), kind.values[0]);
    bool held = call == "socket" && std::find(std::begin(kHeldFamilies), std::end(kHeldFamilies),
                                              family) != std::end(kHeldFamilies);
    return held ? "" : "sockets of this family may be in no namespace";
  }
  for (const Kept& kept : kKept)
    if (std::find(kept.calls.begin(), kept.calls.end(), call) != kept.calls.end()) return kept.why;
  return "";
}

std::string LearntProfile(std::string_view command, std::span<const CallRule> base,
                          const RefusalTable& seen) {
  std::string text = Cat("# System calls that ", Escape(command, 128),
                         " made beside those of microbox's default policy: for --profile.\n");
  for (const CallRule& rule : base) text += Cat(FormatRule(rule), "\n");
  auto times = [](uint64_t count) { return Cat(count, count == 1 ? " time" : " times"); };
  std::string kept;
  for (const Refusal& one : seen.kinds()) {
    std::string kind = KindText(one.kind);
    if (one.continued)
      text += Cat("allow ", kind, "  # ", times(one.count), "\n");
    else
      kept += Cat("# ", kind, ": ", times(one.count), "; ", one.why, "\n");
  }
  if (!kept.empty()) text += Cat("\n# Refused while learning, too:\n", kept);
  if (seen.others() > 0)
    text += Cat("\n# Incomplete: ", seen.others(), " calls of more kinds than are kept.\n");
  return text;
}

}  // namespace msb::box
