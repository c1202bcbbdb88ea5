// SPDX-License-Identifier: Apache-2.0
// A table of options: name, value, help, and what it does to Options. Help is the table.

#include "programs/microbox/options.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "base/name.h"
#include "base/text.h"
#include "jail/box/policy.h"
#include "programs/microbox/network_options.h"
#include "programs/microbox/rlimits.h"
#include "sys/random.h"
#include "sys/terminal.h"

namespace msb::microbox {
namespace {

Error Bad(std::string_view message, std::string_view remedy) {
  return Error(Code::kInvalidArgument, std::string(message)).Remedy(std::string(remedy));
}

std::string Meant(std::string_view typed, const std::vector<std::string>& words,
                  std::string_view otherwise) {
  return DidYouMean(typed, words, otherwise);
}

// The sandbox's init looks paths up where the caller's directory is not.
Result<std::string> Absolute(std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  char here[PATH_MAX];
  if (::getcwd(here, sizeof here) == nullptr) return Error::Errno("the current directory");
  return Cat(here, "/", path);
}

Result<void> SetRoot(Options& options, std::string_view value) {
  box::Spec& spec = options.spec;
  if (value == "tmpfs") {
    spec.root = box::RootKind::kEmpty;
  } else if (value == "host") {
    spec.root = box::RootKind::kHost;
  } else {
    if (value.empty())
      return Error(Code::kInvalidArgument, "--fs: no directory")
          .Remedy("tmpfs, host, or a directory with a root tree");
    spec.root = box::RootKind::kDirectory;
    spec.root_directory = TRY(Absolute(value));
    struct stat info;
    if (::stat(spec.root_directory.c_str(), &info) == -1)
      return Error::Errno(Escape(value, 256))
          .Remedy(Meant(value, {"tmpfs", "host"}, "tmpfs, host, or a directory with a root tree"));
    if (!S_ISDIR(info.st_mode))
      return Bad(Cat(Escape(value, 256), " is not a directory"),
                 "tmpfs, host, or a directory with a root tree");
  }
  return {};
}

Result<void> SetUsers(Options& options, std::string_view value) {
  if (value != "isolated" && value != "host")
    return Bad(Cat("no such mode: ", Escape(value, 64)),
               Meant(value, {"isolated", "host"}, "isolated or host"));
  options.spec.users = value == "host" ? box::UserMode::kHost : box::UserMode::kIsolated;
  return {};
}

Result<void> CheckPlace(std::string_view place) {
  if (!place.starts_with('/'))
    return Bad(Cat("DEST ", Escape(place, 256), " is not absolute"), "begin it with a slash");
  for (std::string_view part : Split(place, '/'))
    if (part == "..") return Bad("DEST has .. in it", "name the place without it");
  if (place.find_first_not_of('/') == std::string_view::npos)
    return Bad("DEST is the root itself", "--fs DIR makes a directory the root");
  return {};
}

Result<void> AddBind(Options& options, std::string_view value, bool writable) {
  size_t colon = value.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == value.size())
    return Bad(Cat(Escape(value, 256), " is not HOST:DEST"), "as in --mount-ro /usr:/usr");
  box::Bind bind{TRY(Absolute(value.substr(0, colon))), std::string(value.substr(colon + 1)),
                 writable};
  TRY(CheckPlace(bind.target));
  options.spec.binds.push_back(std::move(bind));
  return {};
}

Result<void> AddMemory(Options& options, std::string_view value) {
  size_t colon = value.rfind(':');
  box::Memory memory{std::string(value.substr(0, colon))};
  TRY(CheckPlace(memory.target));
  if (colon != std::string_view::npos) memory.bytes = TRY(ParseSize(value.substr(colon + 1)));
  if (memory.bytes < 4 * kKiB) return Bad("too little memory", "4K or more");
  options.spec.memories.push_back(std::move(memory));
  return {};
}

Result<void> AddEnvironment(Options& options, std::string_view value) {
  size_t equals = value.find('=');
  if (equals == 0 || equals == std::string_view::npos)
    return Bad("not KEY=VALUE", "as in --env LANG=C.UTF-8");
  auto& all = options.spec.environment;
  std::string_view key = value.substr(0, equals + 1);
  auto same = std::find_if(all.begin(), all.end(),
                           [&](const std::string& one) { return one.starts_with(key); });
  if (same != all.end())
    *same = std::string(value);
  else
    all.emplace_back(value);
  return {};
}

Result<void> AddCapability(std::string_view value, uint64_t& said) {
  uint64_t bits = 0;
  for (std::string_view name : Split(value, ',')) {
    if (name == "all" || name == "ALL")
      bits = (uint64_t{1} << box::kCapabilities) - 1;
    else
      bits |= uint64_t{1} << TRY(box::CapabilityNumber(name));
  }
  said |= bits;
  return {};
}

// "2", "0.5", ".25" as thousandths, what is less cut off. By hand: the library's floating point is
// a thirtieth of this program.
std::optional<uint32_t> ParseThousandths(std::string_view text) {
  size_t point = std::min(text.find('.'), text.size());
  std::string digits(text.substr(0, point));
  std::string_view fraction = text.substr(std::min(point + 1, text.size()));
  for (size_t i = 0; i < std::max<size_t>(fraction.size(), 3); i++) {
    char digit = i < fraction.size() ? fraction[i] : '0';
    if (digit < '0' || digit > '9') return std::nullopt;
    if (i < 3) digits += digit;
  }
  return text.size() < 2 && point == 0 ? std::nullopt : ParseNumber<uint32_t>(digits);
}

Result<void> SetCpus(Options& options, std::string_view value) {
  auto milli = ParseThousandths(value);
  bool zero = value.find_first_not_of("0.") == std::string_view::npos;
  if (!milli || *milli > 10'000'000 || (*milli < 10 && !zero))
    return Bad(Cat(Escape(value, 64), " is no number of CPUs"),
               "0.01 to 10000, as in 0.5; 0 for no limit");
  options.cpu_milli = *milli;
  return {};
}

Result<void> SetStorage(Options& options, std::string_view value) {
  options.spec.storage_bytes = TRY(ParseSize(value));
  if (options.spec.storage_bytes < 64 * kKiB) return Bad("too little storage", "64K or more");
  options.storage_given = true;
  return {};
}

Result<void> SetLogLevel(Options& options, std::string_view value) {
  if (value == "error")
    options.log_level = LogLevel::kError;
  else if (value == "warn")
    options.log_level = LogLevel::kWarn;
  else if (value == "info")
    options.log_level = LogLevel::kInfo;
  else if (value == "debug")
    options.log_level = LogLevel::kDebug;
  else
    return Bad(Cat("no such level: ", Escape(value, 64)),
               Meant(value, {"error", "warn", "info", "debug"}, "error, warn, info or debug"));
  return {};
}

Result<uint32_t> Count(std::string_view value) {
  auto count = ParseNumber<uint32_t>(value);
  if (!count) return Bad(Cat(Escape(value, 64), " is no number"), "digits only");
  return *count;
}

Result<void> SetFile(std::string& file, std::string_view value) {
  if (value.empty()) return Bad("no file", "name one");
  file = std::string(value);
  return {};
}

Result<int> OpenNumber(std::string_view value) {
  uint32_t number = TRY(Count(value));
  if (number > INT_MAX || ::fcntl(static_cast<int>(number), F_GETFD) == -1)
    return Bad(Cat("descriptor ", number, " is not open"), "as in 3>record.json");
  return static_cast<int>(number);
}

Result<void> SetUser(Options& options, std::string_view value) {
  auto fields = Split(value, ':');
  if (fields.empty() || fields.size() > 2) return Bad("not UID[:GID]", "as in --user 1000:1000");
  options.spec.uid = TRY(Count(fields[0]));
  options.spec.gid = fields.size() == 2 ? TRY(Count(fields[1])) : options.spec.uid;
  if (options.spec.uid > 65'535 || options.spec.gid > 65'535)
    return Bad("no such id inside", "0 to 65535");
  return {};
}

Result<void> AddServer(Options& options, std::string_view value) {
  std::byte address[16];
  std::string text(value);
  if (::inet_pton(AF_INET, text.c_str(), address) != 1 &&
      ::inet_pton(AF_INET6, text.c_str(), address) != 1)
    return Bad(Cat(Escape(value, 64), " is no address"), "as in --dns 1.1.1.1");
  options.spec.dns.push_back(std::move(text));
  return {};
}

struct Parser;
struct Option {
  std::string_view name, value, help;
  Result<void> (*apply)(Parser&, std::string_view);
};

struct Parser {
  Options options;
  uint64_t added = 0, dropped = 0;
};

constexpr Option kOptions[] = {
    {"fs", "MODE|DIR", "root: tmpfs (empty, the default), host, or a directory",
     [](Parser& p, std::string_view v) { return SetRoot(p.options, v); }},
    {"storage", "SIZE", "what may be written to the root, in memory (512M)",
     [](Parser& p, std::string_view v) { return SetStorage(p.options, v); }},
    {"readonly", "", "the root cannot be written",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.spec.read_only = true;
       return {};
     }},
    {"mount-ro", "HOST:DEST", "a file or directory of the host, read-only",
     [](Parser& p, std::string_view v) { return AddBind(p.options, v, false); }},
    {"mount-rw", "HOST:DEST", "the same, and writes reach the host",
     [](Parser& p, std::string_view v) { return AddBind(p.options, v, true); }},
    {"tmpfs", "DEST[:SIZE]", "an empty directory in memory (64M)",
     [](Parser& p, std::string_view v) { return AddMemory(p.options, v); }},
    {"net", "MODE", "network: none (the default; loopback only), bridge (one of its own) or host",
     [](Parser& p, std::string_view v) { return SetNetwork(p.options, v); }},
    {"net-allow", "CIDR|host", "what a bridge refuses otherwise: a private block, or the host",
     [](Parser& p, std::string_view v) { return AllowNetwork(p.options, v); }},
    {"publish", "[IP:]HOSTPORT:PORT[/udp]", "a port of the host (127.0.0.1) that leads inside",
     [](Parser& p, std::string_view v) { return PublishPort(p.options, v); }},
    {"dns", "SERVER", "name server, again for more (8.8.8.8 and 8.8.4.4)",
     [](Parser& p, std::string_view v) { return AddServer(p.options, v); }},
    {"name", "NAME", "names the sandbox in its status record; also its host name",
     [](Parser& p, std::string_view v) -> Result<void> {
       TRY(CheckHostname(v));
       p.options.name = std::string(v);
       return {};
     }},
    {"hostname", "NAME", "host name (sandbox-...)",
     [](Parser& p, std::string_view v) -> Result<void> {
       TRY(CheckHostname(v));
       p.options.spec.hostname = std::string(v);
       return {};
     }},
    {"env", "KEY=VALUE", "environment of the command, which has nothing of yours",
     [](Parser& p, std::string_view v) { return AddEnvironment(p.options, v); }},
    {"workdir", "DIR", "where the command starts (/)",
     [](Parser& p, std::string_view v) -> Result<void> {
       if (v.empty() || v[0] != '/') return Bad("not absolute", "a directory inside");
       p.options.spec.directory = std::string(v);
       return {};
     }},
    {"user", "UID[:GID]", "who the command is, inside (0:0)",
     [](Parser& p, std::string_view v) { return SetUser(p.options, v); }},
    {"userns", "MODE", "isolated (the default), or host: root inside is root outside",
     [](Parser& p, std::string_view v) { return SetUsers(p.options, v); }},
    {"cpus", "N", "CPU time, in processors (1; 0: no limit)",
     [](Parser& p, std::string_view v) { return SetCpus(p.options, v); }},
    {"memory", "SIZE", "memory (1G; 0: no limit)",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.memory_bytes = v == "0" ? 0 : TRY(ParseSize(v));
       return {};
     }},
    {"pids", "N", "processes and threads (4096; 0: no limit)",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.pids = TRY(Count(v));
       return {};
     }},
    {"io-bps", "SIZE", "bytes a second read, and written, on each disk (0: no limit)",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.io_bytes = v == "0" ? 0 : TRY(ParseSize(v));
       return {};
     }},
    {"rlimit", "NAME=SOFT[:HARD]", "a limit of setrlimit(2) (core=0), again for more",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.spec.limits.push_back(TRY(ParseResourceLimit(v)));
       return {};
     }},
    {"require-limits", "", "refuse where a limit cannot be enforced",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.require_limits = true;
       return {};
     }},
    {"timeout", "TIME", "SIGTERM after this long, and exit code 124",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.timeout = TRY(ParseDuration(v));
       return {};
     }},
    {"kill-after", "TIME", "SIGKILL this long after SIGTERM (10s)",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.kill_after = TRY(ParseDuration(v));
       return {};
     }},
    {"output-limit", "SIZE", "kill it when stdout and stderr together are larger",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.output_limit = TRY(ParseSize(v));
       return {};
     }},
    {"allow-syscall", "NAME", "a system call beside the default policy's",
     [](Parser& p, std::string_view v) -> Result<void> {
       for (std::string_view name : Split(v, ',')) p.options.allow_calls.emplace_back(name);
       return {};
     }},
    {"deny-syscall", "NAME", "a system call less",
     [](Parser& p, std::string_view v) -> Result<void> {
       for (std::string_view name : Split(v, ',')) p.options.deny_calls.emplace_back(name);
       return {};
     }},
    {"log-denied", "", "shows which system calls were refused, and how often",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.log_denied = true;
       return {};
     }},
    {"learn", "FILE", "refuses no call that the other walls hold; writes what was needed",
     [](Parser& p, std::string_view v) { return SetFile(p.options.learn, v); }},
    {"profile", "FILE", "rules of system calls, as --learn writes them",
     [](Parser& p, std::string_view v) { return SetFile(p.options.profile, v); }},
    {"cap-add", "NAME", "a capability beside the default twelve",
     [](Parser& p, std::string_view v) { return AddCapability(v, p.added); }},
    {"cap-drop", "NAME", "a capability less; ALL for none",
     [](Parser& p, std::string_view v) { return AddCapability(v, p.dropped); }},
    {"tty", "", "a terminal of its own (so when stdin and stdout are terminals)",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.terminal = Options::Terminal::kYes;
       return {};
     }},
    {"no-tty", "", "none: it writes to yours, and controls no terminal",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.terminal = Options::Terminal::kNo;
       return {};
     }},
    {"keep-fd", "N", "an open descriptor that the command gets at the same number",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.spec.keep_fds.push_back(TRY(OpenNumber(v)));
       return {};
     }},
    {"status-fd", "N", "where a JSON record of what was in force and how it ended goes",
     [](Parser& p, std::string_view v) -> Result<void> {
       p.options.status_fd = TRY(OpenNumber(v));
       return {};
     }},
    {"log-level", "LEVEL", "error (the default), warn, info or debug; on stderr",
     [](Parser& p, std::string_view v) { return SetLogLevel(p.options, v); }},
    {"log-format", "FORMAT", "text (the default) or json",
     [](Parser& p, std::string_view v) -> Result<void> {
       if (v != "text" && v != "json")
         return Bad("no such format", Meant(v, {"text", "json"}, "text or json"));
       p.options.log_json = v == "json";
       return {};
     }},
    {"doctor", "", "tries what sandboxes need of this host; 1 when something is missing",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.action = Options::Action::kDoctor;
       return {};
     }},
    {"help", "", "this text",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.action = Options::Action::kHelp;
       return {};
     }},
    {"version", "", "the version",
     [](Parser& p, std::string_view) -> Result<void> {
       p.options.action = Options::Action::kVersion;
       return {};
     }},
};

Result<void> Finish(Parser& parser) {
  Options& options = parser.options;
  box::Spec& spec = options.spec;
  if (options.action != Options::Action::kRun) return {};
  if (spec.argv.empty()) return Bad("no command", "microbox [options] -- COMMAND [ARGS]");
  if (spec.root == box::RootKind::kHost && !spec.binds.empty())
    return Bad("--fs host has all of the host's files already",
               "leave --mount-ro and --mount-rw out");
  uint64_t both = parser.added & parser.dropped;
  for (int i = 0; i < box::kCapabilities; i++)
    if ((both >> i & 1) != 0 && parser.dropped != (uint64_t{1} << box::kCapabilities) - 1)
      return Bad(Cat("CAP_", box::CapabilityName(i), " is both added and dropped"),
                 "leave one of the two out");
  spec.subordinate_ids = true;
  spec.capabilities = (box::kDefaultCapabilities & ~parser.dropped) | parser.added;
  bool terminals = ::isatty(0) == 1 && ::isatty(1) == 1;
  if (options.terminal == Options::Terminal::kYes && !terminals)
    return Bad("--tty: stdin and stdout are no terminals", "leave it out");
  if (terminals && options.terminal != Options::Terminal::kNo)
    spec.terminal = sys::GetWindowSize(0).value_or(winsize{24, 80, 0, 0});
  if (spec.dns.empty()) spec.dns = {"8.8.8.8", "8.8.4.4"};
  TRY(FinishNetwork(options));
  if (spec.hostname.empty()) spec.hostname = options.name;
  if (std::none_of(spec.limits.begin(), spec.limits.end(),
                   [](const box::ResourceLimit& one) { return one.resource == RLIMIT_CORE; }))
    spec.limits.push_back({RLIMIT_CORE, {0, 0}});
  if (spec.hostname.empty()) {
    std::byte random[4];
    sys::FillRandom(random);
    spec.hostname = Cat("sandbox-", Hex(random));
  }
  constexpr std::string_view kDefaults[] = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
      "TERM=xterm", "LANG=C.UTF-8"};
  auto given = std::move(spec.environment);
  spec.environment.clear();
  for (std::string_view one : kDefaults) TRY(AddEnvironment(options, one));
  for (const std::string& one : given) TRY(AddEnvironment(options, one));
  return {};
}

Error UnknownOption(std::string_view name) {
  std::vector<std::string> names;
  for (const Option& option : kOptions) names.push_back(Cat("--", option.name));
  return Bad(Cat("unknown option --", Escape(name, 64)),
             Meant(Cat("--", name.substr(0, 64)), names, "microbox --help"));
}

}  // namespace

Result<Options> ParseOptions(std::span<const std::string_view> words) {
  Parser parser;
  size_t i = 0;
  for (; i < words.size(); i++) {
    std::string_view word = words[i];
    if (word == "--") {
      i++;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    if (word == "-h") word = "--help";
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    size_t equals = word.find('=');
    std::string_view name = word.substr(0, equals);
    const auto* option = std::find_if(std::begin(kOptions), std::end(kOptions),
                                      [&](const Option& one) { return one.name == name; });
    if (option == std::end(kOptions)) return UnknownOption(name);
    std::string_view value;
    if (option->value.empty()) {
      if (equals != std::string_view::npos)
        return Bad(Cat("--", name, " takes no value"), Cat("--", name));
    } else if (equals != std::string_view::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      return Bad(Cat("--", name, " needs a value"), Cat("--", name, " ", option->value));
    }
    TRY(option->apply(parser, value).Context(Cat("--", name)));
  }
  for (; i < words.size(); i++) parser.options.spec.argv.emplace_back(words[i]);
  TRY(Finish(parser));
  return std::move(parser.options);
}

std::string HelpText() {
  std::string text =
      "microbox runs a command behind the host kernel's own walls.\n\n"
      "usage: microbox [options] -- COMMAND [ARGS]\n\n";
  for (const Option& option : kOptions) {
    std::string left = Cat("  --", option.name, option.value.empty() ? "" : " ", option.value);
    left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
    text += Cat(left, option.help, "\n");
  }
  text +=
      "\nexit codes: the command's own; 124 timeout, 125 not started, 126 cannot be executed,\n"
      "127 not found, 128+N ended by signal N\n\n"
      "  microbox --fs ./rootfs -- /bin/bash -c 'echo Hello Sandbox!'\n"
      "  microbox --mount-ro /bin:/bin --mount-ro /lib:/lib -- /bin/ls\n";
  return text;
}

}  // namespace msb::microbox
