// SPDX-License-Identifier: Apache-2.0
// A table of flags, each with the one thing it does to the options.
#include "programs/msb_image/arguments.h"

#include <functional>

#include "base/text.h"
#include "json/codec.h"

namespace msb::image_program {
namespace {

constexpr char kHelp[] = R"(Makes images for msb.

usage: msb-image import [options] NAME DIR|TAR|-
       msb-image unpack --output-fd N [options] DIR|TAR|-
       msb-image unpack-tree --disk-fd N --tree-fd N

import stores a directory or a tar (plain, gzip or zstd; `-` reads it from
stdin) as image NAME. unpack only writes its root disk to an open descriptor
and prints a JSON summary: what `msb exe --rootfs` uses. unpack-tree writes the
files of an open root disk into an open, empty directory: what
`msb exe --isolation process` uses.

options of import:
  --cmd WORD           default command; repeat for each word, or give a JSON
                       array: --cmd '["python3", "-i"]'
  --entrypoint WORD    what comes before the command, likewise
  --env NAME=VALUE     environment variable; repeatable
  --user USER[:GROUP]  who runs it; default root
  --workdir DIR        where it starts; default /
  --label NAME=VALUE   repeatable
  --created TIME       as 2026-01-31T12:00:00Z; default: not recorded, so that
                       the same input gives the same image
  --arch ARCH          amd64, arm64; default: this machine's
  --home DIR           instead of $MICROSANDBOX_HOME or ~/.microsandbox
  --json               print what was stored as JSON
options of both:
  --quiet              no progress
  --help, --version

examples:
  msb-image import app:1 ./rootfs --cmd /bin/server --env PORT=80
  tar -C rootfs -c . | msb-image import app:1 -

Exit code: 0, or 125 with one error on stderr and nothing left behind.
)";

#if defined(__x86_64__)
constexpr char kArchitecture[] = "amd64";
#else
constexpr char kArchitecture[] = "arm64";
#endif

Error Usage(std::string_view what) {
  return Error(Code::kInvalidArgument, std::string(what)).Remedy("run: msb-image --help");
}

// What a flag does with its value; `value` is empty for a flag that takes none.
struct Flag {
  std::string_view name;
  bool takes_value;
  std::function<Result<void>(const std::string& value)> apply;
};

// Sorts the arguments into flags, which are applied, and the rest.
Result<std::vector<std::string>> ApplyFlags(std::span<const std::string> arguments,
                                            std::span<const Flag> flags) {
  std::vector<std::string> rest;
  bool only_rest = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_rest || argument == "-" || !argument.starts_with("-")) {
      rest.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_rest = true;
      continue;
    }
    size_t equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    const Flag* flag = nullptr;
    for (const Flag& candidate : flags)
      if (candidate.name == name) flag = &candidate;
    if (flag == nullptr) return Usage(Cat("unknown option ", Escape(name)));
    std::string value;
    if (equals != std::string::npos) {
      if (!flag->takes_value) return Usage(Cat(name, " takes no value"));
      value = argument.substr(equals + 1);
    } else if (flag->takes_value) {
      if (++i == arguments.size()) return Usage(Cat(name, " needs a value"));
      value = arguments[i];
    }
    TRY(flag->apply(value).Context(name));
  }
  return rest;
}

std::function<Result<void>(const std::string&)> SetText(std::string& into) {
  return [&into](const std::string& value) -> Result<void> {
    into = value;
    return {};
  };
}

std::function<Result<void>(const std::string&)> SetTrue(bool& into) {
  return [&into](const std::string&) -> Result<void> {
    into = true;
    return {};
  };
}

std::function<Result<void>(const std::string&)> SetFd(int& into) {
  return [&into](const std::string& value) -> Result<void> {
    auto number = ParseNumber<int>(value);
    if (!number || *number < 0) return Usage(Cat("\"", Escape(value), "\" is no descriptor"));
    into = *number;
    return {};
  };
}

std::function<Result<void>(const std::string&)> AddWords(std::vector<std::string>& into) {
  return [&into](const std::string& value) -> Result<void> {
    if (!value.starts_with('[')) {
      into.push_back(value);
      return {};
    }
    for (std::string& word : TRY(json::Decode<std::vector<std::string>>(value)))
      into.push_back(std::move(word));
    return {};
  };
}

Result<std::pair<std::string, std::string>> NameAndValue(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return Usage(Cat("\"", Escape(text), "\" is not NAME=VALUE"));
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

// A variable that is given again takes its old place: an environment has each name once.
Result<void> AddVariable(std::vector<std::string>& env, const std::string& text) {
  auto [name, value] = TRY(NameAndValue(text));
  for (std::string& variable : env) {
    if (!variable.starts_with(name + "=")) continue;
    variable = text;
    return {};
  }
  env.push_back(text);
  return {};
}

// YYYY-MM-DDThh:mm:ssZ, digit by digit.
Result<void> CheckTime(const std::string& text) {
  constexpr std::string_view kPattern = "dddd-dd-ddTdd:dd:ddZ";
  bool good = text.size() == kPattern.size();
  for (size_t i = 0; good && i < text.size(); ++i)
    good = kPattern[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == kPattern[i];
  if (!good) return Usage(Cat("\"", Escape(text), "\" is not a time such as 2026-01-31T12:00:00Z"));
  return {};
}

Result<Command> ParseImport(std::span<const std::string> arguments) {
  ImportOptions options;
  store::ImageConfig& config = options.config;
  config.architecture = kArchitecture;
  config.os = "linux";
  const Flag flags[] = {
      {"--cmd", true, AddWords(config.cmd)},
      {"--entrypoint", true, AddWords(config.entrypoint)},
      {"--env", true, [&](const std::string& text) { return AddVariable(config.env, text); }},
      {"--user", true, SetText(config.user)},
      {"--workdir", true, SetText(config.working_dir)},
      {"--label", true,
       [&](const std::string& text) -> Result<void> {
         auto [name, value] = TRY(NameAndValue(text));
         config.labels[name] = value;
         return {};
       }},
      {"--created", true,
       [&](const std::string& text) -> Result<void> {
         TRY(CheckTime(text));
         config.created = text;
         return {};
       }},
      {"--arch", true, SetText(config.architecture)},
      {"--home", true,
       [&](const std::string& text) -> Result<void> {
         options.home = text;
         return {};
       }},
      {"--json", false, SetTrue(options.json)},
      {"--quiet", false, SetTrue(options.quiet)},
  };
  std::vector<std::string> rest = TRY(ApplyFlags(arguments, flags));
  if (rest.size() != 2) return Usage("import needs a NAME and a DIR or TAR");
  if (!config.working_dir.empty() && config.working_dir.front() != '/')
    return Usage("--workdir must be an absolute path");
  options.name = rest[0];
  options.source = rest[1];
  return Command(std::move(options));
}

Result<Command> ParseUnpack(std::span<const std::string> arguments) {
  UnpackOptions options;
  const Flag flags[] = {{"--source-fd", true, SetFd(options.source_fd)},
                        {"--output-fd", true, SetFd(options.output_fd)},
                        {"--quiet", false, SetTrue(options.quiet)}};
  std::vector<std::string> rest = TRY(ApplyFlags(arguments, flags));
  if (options.output_fd < 0) return Usage("unpack needs --output-fd");
  if (rest.size() + (options.source_fd >= 0 ? 1 : 0) != 1)
    return Usage("unpack needs one DIR or TAR");
  if (!rest.empty()) options.source = rest[0];
  return Command(std::move(options));
}

Result<Command> ParseUnpackTree(std::span<const std::string> arguments) {
  UnpackTreeOptions options;
  const Flag flags[] = {{"--disk-fd", true, SetFd(options.disk_fd)},
                        {"--tree-fd", true, SetFd(options.tree_fd)}};
  std::vector<std::string> rest = TRY(ApplyFlags(arguments, flags));
  if (options.disk_fd < 0 || options.tree_fd < 0 || !rest.empty())
    return Usage("unpack-tree needs --disk-fd and --tree-fd, and nothing else");
  return Command(options);
}

}  // namespace

Result<Command> ParseArguments(std::span<const std::string> arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument == "--help" || argument == "-h") return Command(ShowText{kHelp});
    if (argument == "--version") return Command(ShowText{"msb-image " MSB_VERSION "\n"});
  }
  if (arguments.empty()) return Usage("what to do is missing: import, unpack or unpack-tree");
  if (arguments[0] == "import") return ParseImport(arguments.subspan(1));
  if (arguments[0] == "unpack") return ParseUnpack(arguments.subspan(1));
  if (arguments[0] == "unpack-tree") return ParseUnpackTree(arguments.subspan(1));
  return Usage(Cat("unknown command ", Escape(arguments[0])));
}

}  // namespace msb::image_program
