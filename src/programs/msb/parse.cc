// SPDX-License-Identifier: Apache-2.0
// Arguments into options by CLI11, which no other file sees: including it costs 5 s. Only the
// command that was asked for is described to it; what it throws ends here.

#include "programs/msb/parse.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <optional>

#include "base/checked.h"
#include "base/text.h"
#include "programs/msb/commands.h"

namespace msb::cli {

namespace {

// Stands for the value of `--name=`: left empty CLI11 would take the next argument for it.
constexpr std::string_view kNoValue = "\x01";

// A command being described: CLI11's object, and the first error of our own value parsers.
struct Description {
  CLI::App app;
  std::vector<std::string> typed;  // Our own arguments, as the user wrote them.
  std::optional<Error> error;

  Description() { app.set_help_flag(); }

  // Of the `names` of an option the one that `text` was given to.
  std::string Spelling(const std::string& names, const std::string& text) const {
    auto spellings = Split(names, ',');
    for (size_t i = 0; i < typed.size(); i++) {
      for (const std::string& name : spellings) {
        bool is_short = !name.starts_with("--");
        if ((typed[i] == name && i + 1 < typed.size() && typed[i + 1] == text) ||
            typed[i] == Cat(name, is_short ? "" : "=", text))
          return name;
      }
    }
    return spellings.back();
  }

  void Switch(const std::string& names, const std::string& help, std::function<void()> set) {
    app.add_flag_callback(names, std::move(set), help);
  }
  void Switch(const std::string& names, const std::string& help, bool& into) {
    Switch(names, help, [&into] { into = true; });
  }
  // `parse` gets the text and returns Result<T>.
  template <class T, class Parse>
  CLI::Option* Value(const std::string& names, const std::string& placeholder,
                     const std::string& help, T& into, Parse parse) {
    using Parsed = std::remove_cvref_t<decltype(*parse(std::string()))>;
    CLI::callback_t take = [this, names, &into, parse](const CLI::results_t& values) {
      for (const std::string& given : values) {
        bool none = given == kNoValue;
        std::string text = none ? "" : given;
        auto parsed =
            none ? Result<Parsed>(Error(Code::kInvalidArgument, "needs a value")
                                      .Remedy("put it behind the = or in the next argument"))
                 : Result<Parsed>(parse(text));
        if (parsed) {
          if constexpr (requires { into.push_back(*parsed); })
            into.push_back(*std::move(parsed));
          else
            into = *std::move(parsed);
        } else if (!error) {
          std::string option = Spelling(names, text);
          if (!none) option += Cat(" ", Escape(text, 80));
          error = std::move(parsed).error().Context(option);
        }
      }
      return true;
    };
    auto* option = app.add_option(names, take, help);
    option->type_name(placeholder)->type_size(1)->expected(1)->allow_extra_args(false);
    constexpr bool kList = requires(T & t) { t.push_back(std::string()); }
    &&!requires(T & t) { t.substr(0); };
    option->multi_option_policy(kList ? CLI::MultiOptionPolicy::TakeAll
                                      : CLI::MultiOptionPolicy::TakeLast);
    return option;
  }
  void Operand(const std::string& name, const std::string& help, std::string& into, bool required) {
    app.add_option(name, into, help)->required(required)->type_name(name);
  }
  void Operands(const std::string& name, const std::string& help, std::vector<std::string>& into) {
    app.add_option(name, into, help)->required()->type_name(name);
  }
};

Result<std::string> NotEmpty(std::string_view text) {
  if (text.empty()) return Error(Code::kInvalidArgument, "must not be empty");
  return std::string(text);
}

template <class T>
Result<T> Number(std::string_view text) {
  auto number = ParseNumber<T>(text);
  if (!number)
    return Error(Code::kInvalidArgument, "not a whole number").Remedy("give digits only: 2");
  return *number;
}

Result<std::string> EnvEntry(std::string_view text) {
  if (text.empty() || text[0] == '=')
    return Error(Code::kInvalidArgument, "no variable name")
        .Remedy("write --env NAME=VALUE, or --env NAME for the value that it has here");
  return std::string(text);
}

Result<int> Descriptor(std::string_view text) {
  int fd = TRY(Number<int>(text));
  if (fd < 0 || fd > 65535) return Error(Code::kInvalidArgument, "not a descriptor's number");
  return fd;
}

void SetTerminal(Description& d, ProgramOptions& program, TerminalMode mode) {
  if (program.terminal != TerminalMode::kAuto && program.terminal != mode && !d.error)
    d.error = Error(Code::kInvalidArgument, "--tty and --no-tty contradict each other")
                  .Remedy("give one of them, or neither for what stdin and stdout are");
  program.terminal = mode;
}

void DescribeProgram(Description& d, ProgramOptions& program) {
  d.Value("--env", "NAME[=VALUE]", "Set a variable, or pass on the one here; may be repeated",
          program.env, EnvEntry);
  d.Value("-w,--workdir", "DIR", "Directory to start in", program.workdir, NotEmpty);
  d.Value("-u,--user", "USER[:GROUP]", "User to run as, of the image's own", program.user,
          NotEmpty);
  d.Switch("-t,--tty", "Give the program a terminal",
           [&] { SetTerminal(d, program, TerminalMode::kAlways); });
  d.Switch("--no-tty", "Give it pipes, also on a terminal",
           [&] { SetTerminal(d, program, TerminalMode::kNever); });
  d.Switch("--no-stdin", "Give it an empty stdin and read none", program.no_stdin);
  d.Value("--status-fd", "N", "Write how it ended, as JSON, to this descriptor", program.status_fd,
          Descriptor);
  d.Switch("-q,--quiet", "Print nothing but the program's output and errors", program.quiet);
  d.Switch("--json", "Print messages as JSON", program.json);
}

void Describe(Description& d, ExeOptions& o) {
  d.Operand("IMAGE", "Image to run; short names work", o.image, false);
  d.Switch("-i,--image", "Accepted and does nothing: exe always runs images", [] {});
  d.Value("--rootfs", "DIR|TAR", "Run this tree instead of an image", o.rootfs, NotEmpty);
  d.Value("--name", "NAME", "Name the sandbox", o.name, NotEmpty);
  d.Switch("-d,--detach", "Leave it running, print its name or id", o.detach);
  d.Value("--cpus,--cpu", "N", "Virtual CPUs (default 1)", o.cpus, Number<uint32_t>);
  d.Value("-m,--memory", "SIZE", "Memory, such as 256M; a bare number is MiB (default 1G)",
          o.memory_bytes, ParseSize);
  d.Value("--storage", "SIZE", "Room for what is written (default 512M)", o.storage_bytes,
          ParseSize);
  d.Value("--timeout", "DURATION", "Stop it after this long, such as 10s", o.timeout,
          ParseDuration);
  d.Value("--hostname", "HOST", "Host name inside (default: the name, else the id)", o.hostname,
          NotEmpty);
  d.Value("--isolation", "LEVEL", "vm, vm-emulated or process (default: the strongest machine)",
          o.isolation, sandbox::ParseIsolation);
  d.Value("--require", "LEVEL", "Refuse anything weaker than this", o.required,
          sandbox::ParseIsolation);
  d.Switch("--require-limits", "Refuse when a limit cannot be set", o.require_limits);
  d.Value("--cgroup", "DIR", "Make its cgroup in this one, which is yours to divide", o.cgroup,
          NotEmpty);
  d.Switch("--debug-console", "Show the guest kernel's console on stderr", o.debug_console);
  DescribeProgram(d, o.program);
}

void Describe(Description& d, ExecOptions& o) {
  d.Operand("SANDBOX", "Name or id", o.sandbox, true);
  DescribeProgram(d, o.program);
}

void Describe(Description& d, ShellOptions& o) {
  d.Operand("SANDBOX", "Name or id", o.sandbox, true);
  DescribeProgram(d, o.program);
}

void Describe(Description& d, PsOptions& o) {
  d.Switch("-a,--all", "Ended sandboxes too", o.all);
  d.Switch("-q,--quiet", "Names only, ids where there is no name", o.quiet);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, InspectOptions& o) {
  d.Operands("SANDBOX", "Name or id", o.sandboxes);
  d.Switch("--walls", "Only what the kernel says of its walls, as tables", o.walls);
  d.Switch("--json", "Print JSON, whatever else is asked for; errors too", o.json);
}

void Describe(Description& d, LogsOptions& o) {
  d.Operand("SANDBOX", "Name or id", o.sandbox, true);
  d.Switch("-f,--follow", "Go on until the sandbox ends", o.follow);
  d.Value("-n,--tail", "N", "Only the last N lines", o.tail, Number<uint64_t>);
  d.Switch("--console", "The guest kernel's console instead", o.console);
}

void Describe(Description& d, StopOptions& o) {
  d.Operands("SANDBOX", "Name or id", o.sandboxes);
  d.Value("--grace", "DURATION", "Kill after this long (default 10s)", o.grace, ParseDuration);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, KillOptions& o) {
  d.Operands("SANDBOX", "Name or id", o.sandboxes);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, RmOptions& o) {
  d.Operands("SANDBOX", "Name or id", o.sandboxes);
  d.Switch("-f,--force", "Kill it first when it runs; a missing one is fine", o.force);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, ImageImportOptions& o) {
  d.Operands("NAME DIR|TAR", "The image's name, and what it is made of", o.arguments);
}

void Describe(Description& d, ImageListOptions& o) {
  d.Switch("-q,--quiet", "Names only", o.quiet);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, ImageRemoveOptions& o) {
  d.Operands("IMAGE", "Image reference", o.images);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, ImageResolveOptions& o) {
  d.Operand("IMAGE", "What you would type", o.image, true);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, DoctorOptions& o) { d.Switch("--json", "Print JSON", o.json); }
void Describe(Description& d, GcOptions& o) { d.Switch("--json", "Print JSON", o.json); }
void Describe(Description& d, VersionOptions& o) { d.Switch("--json", "Print JSON", o.json); }

void Describe(Description& d, CompletionOptions& o) {
  d.Operand("SHELL", "bash, zsh or fish", o.shell, true);
}

void Describe(Description& d, BenchStartOptions& o) {
  d.Operand("IMAGE", "Image to start (default microsandbox/python)", o.image, false);
  d.Value("-n,--runs", "N", "How many starts (default 20)", o.runs, Number<uint32_t>);
  d.Value("--cpus", "N", "Virtual CPUs (default 1)", o.cpus, Number<uint32_t>);
  d.Value("-m,--memory", "SIZE", "Memory (default 256M)", o.memory_bytes, ParseSize);
  d.Value("--isolation", "LEVEL", "vm, vm-emulated or process", o.isolation,
          sandbox::ParseIsolation);
  d.Switch("--cold", "Drop the files of the run from the page cache before each", o.cold);
  d.Switch("--json", "Print JSON", o.json);
}

void Describe(Description& d, HelpOptions& o) {
  d.Operand("COMMAND", "What to show help for", o.command, false);
}

// Calls `use(name, options)` with the options struct of the command of that name.
template <class Use>
auto WithOptions(std::string_view name, Use use) {
  if (name == "exe") return use(ExeOptions());
  if (name == "exec") return use(ExecOptions());
  if (name == "shell") return use(ShellOptions());
  if (name == "ps") return use(PsOptions());
  if (name == "inspect") return use(InspectOptions());
  if (name == "logs") return use(LogsOptions());
  if (name == "stop") return use(StopOptions());
  if (name == "kill") return use(KillOptions());
  if (name == "rm") return use(RmOptions());
  if (name == "image import") return use(ImageImportOptions());
  if (name == "image list") return use(ImageListOptions());
  if (name == "image remove") return use(ImageRemoveOptions());
  if (name == "image resolve") return use(ImageResolveOptions());
  if (name == "doctor") return use(DoctorOptions());
  if (name == "gc") return use(GcOptions());
  if (name == "version") return use(VersionOptions());
  if (name == "completion") return use(CompletionOptions());
  if (name == "bench start") return use(BenchStartOptions());
  return use(HelpOptions());
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

Error UsageError(std::string_view command, std::string_view message) {
  return Error(Code::kInvalidArgument, Cat("msb ", command, ": ", message))
      .Remedy(Cat("run: msb ", command, " --help"));
}

Error UnknownArgument(std::string_view command, const CLI::App& app, const std::string& argument) {
  if (argument.size() < 2 || argument[0] != '-')
    return UsageError(command, Cat("unexpected argument ", Escape(argument, 80)));
  constexpr std::string_view kLater[] = {"-v",      "--volume", "-p", "--port",
                                         "--scope", "-e",       "-x", "--exec"};
  std::string typed = argument.substr(0, argument.find('='));
  if (std::find(std::begin(kLater), std::end(kLater), typed) != std::end(kLater))
    return UsageError(command, Cat("this version has no ", typed));
  Error error(Code::kInvalidArgument, Cat("msb ", command, ": unknown option ", Escape(typed, 80)));
  auto near = Suggest(typed, OptionNames(app));
  if (near) return std::move(error).Remedy(Cat("did you mean ", *near, "?"));
  return std::move(error).Remedy(Cat("run: msb ", command, " --help"));
}

// `--name=` with an empty value, for the options that need one.
std::vector<std::string> MarkEmptyValues(const CLI::App& app, std::vector<std::string> arguments) {
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--") || !argument.ends_with("=")) continue;
    const auto* option = app.get_option_no_throw(argument.substr(0, argument.size() - 1));
    if (option != nullptr && option->get_expected_min() > 0) argument += kNoValue;
  }
  return arguments;
}

// Where the words after the operands go, for the commands that take a command line.
template <class Options>
std::vector<std::string>* CommandWords(Options& options) {
  if constexpr (requires { options.program.command; })
    return &options.program.command;
  else if constexpr (requires {
                       options.command.push_back("");
                       options.runs;
                     })
    return &options.command;
  else
    return nullptr;
}

template <class Options>
Result<Command> ParseInto(std::string_view name, Options options,
                          std::span<const std::string> arguments) {
  // Everything after "--" belongs to the program.
  auto end = std::find(arguments.begin(), arguments.end(), "--");
  std::vector<std::string> own(arguments.begin(), end);
  Description d;
  Describe(d, options);
  std::vector<std::string>* words = CommandWords(options);
  if (words != nullptr)
    d.app.prefix_command();
  else
    d.app.allow_extras();
  bool help = false;
  d.Switch("-h,--help", "Show this", help);
  d.typed = own;
  try {
    std::vector<std::string> reversed = MarkEmptyValues(d.app, own);
    std::reverse(reversed.begin(), reversed.end());
    d.app.parse(std::move(reversed));
  } catch (const CLI::Error& error) {
    if (help) return Command(HelpOptions{std::string(name)});
    std::string message = error.what();
    return UsageError(name, message.substr(0, message.find('\n')));
  }
  if (help) return Command(HelpOptions{std::string(name)});
  std::vector<std::string> extras = d.app.remaining();
  if (!extras.empty() && (words == nullptr || extras[0].starts_with("-")))
    return UnknownArgument(name, d.app, extras[0]);
  if (d.error) return *std::move(d.error);
  if (words != nullptr) {
    // They are the last ones; without our marks.
    words->assign(own.end() - static_cast<ptrdiff_t>(extras.size()), own.end());
    // `sh -c x -- y`: that "--" is the program's.
    if (end != arguments.end() && !words->empty()) words->push_back("--");
  }
  if (end != arguments.end()) {
    if (words == nullptr) return UsageError(name, "takes no command after --");
    words->insert(words->end(), end + 1, arguments.end());
  }
  return Command(std::move(options));
}

Error UnknownCommand(const std::string& typed) {
  if (IsLaterCommand(typed))
    return Error(Code::kUnimplemented, Cat("this version has no `msb ", typed, "`"))
        .Remedy("run: msb help, for what there is");
  Error error(Code::kInvalidArgument, Cat("unknown command: ", Escape(typed, 80)));
  std::vector<std::string> names;
  for (const CommandInfo& command : Commands()) {
    names.emplace_back(command.name);
    for (const std::string& alias : Split(command.aliases, ' ')) names.push_back(alias);
  }
  if (auto near = Suggest(typed, names))
    return std::move(error).Remedy(Cat("did you mean: msb ", *near, "?"));
  return std::move(error).Remedy("run: msb help");
}

bool TakeGlobal(const std::string& argument, CommandLine& line) {
  constexpr std::pair<std::string_view, LogLevel> kLevels[] = {{"--error", LogLevel::kError},
                                                               {"--warn", LogLevel::kWarn},
                                                               {"--info", LogLevel::kInfo},
                                                               {"--debug", LogLevel::kDebug},
                                                               {"--trace", LogLevel::kDebug}};
  for (auto [name, level] : kLevels) {
    if (argument != name) continue;
    line.log_level = level;
    return true;
  }
  return false;
}

}  // namespace

Result<CommandLine> ParseArguments(std::span<const std::string> arguments) {
  CommandLine line{HelpOptions{}};
  while (!arguments.empty() && TakeGlobal(arguments[0], line)) arguments = arguments.subspan(1);
  if (arguments.empty()) return line;
  const std::string& first = arguments[0];
  if (first == "-h" || first == "--help") return line;
  if (first == "-V" || first == "--version") {
    line.command = VersionOptions{};
    return line;
  }
  if (first.starts_with("-"))
    return Error(Code::kInvalidArgument, Cat("unknown option ", Escape(first, 80)))
        .Remedy("run: msb help");

  std::string name = first;
  size_t words = 1;
  if (first == "image" || first == "bench") {
    if (arguments.size() < 2 || arguments[1] == "--help" || arguments[1] == "-h") {
      line.command = HelpOptions{first};
      return line;
    }
    name = Cat(first, " ", arguments[1]);
    words = 2;
  }
  const CommandInfo* info = FindCommand(name);
  if (info == nullptr) return UnknownCommand(name);
  // `msb help image import` is two words of operand.
  if (info->name == "help") {
    line.command = HelpOptions{Join(arguments.subspan(words), " ")};
    return line;
  }
  // msb-image knows its own options.
  if (info->name == "image import") {
    std::vector<std::string> rest(arguments.begin() + 2, arguments.end());
    if (std::find(rest.begin(), rest.end(), "--help") == rest.end()) {
      line.command = ImageImportOptions{std::move(rest)};
      return line;
    }
  }
  line.command = TRY(WithOptions(info->name, [&](auto options) {
    return ParseInto(info->name, std::move(options), arguments.subspan(words));
  }));
  return line;
}

std::vector<OptionInfo> DescribeOptions(std::string_view command) {
  return WithOptions(command, [](auto options) {
    Description d;
    Describe(d, options);
    bool help = false;
    d.Switch("-h,--help", "Show this", help);
    std::vector<OptionInfo> infos;
    for (const CLI::Option* option : d.app.get_options()) {
      OptionInfo info;
      for (const std::string& name : option->get_snames()) info.names.push_back("-" + name);
      for (const std::string& name : option->get_lnames()) info.names.push_back("--" + name);
      if (option->get_expected_max() > 0 && option->get_type_size() > 0)
        info.value = option->get_type_name();
      info.help = option->get_description();
      infos.push_back(std::move(info));
    }
    return infos;
  });
}

}  // namespace msb::cli
