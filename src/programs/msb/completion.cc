// SPDX-License-Identifier: Apache-2.0
// Completion for bash, zsh and fish. Names of images and sandboxes come from msb itself when they
// are asked for.

#include "programs/msb/completion.h"

#include <algorithm>

#include "base/text.h"
#include "programs/msb/commands.h"
#include "programs/msb/parse.h"
#include "programs/msb/ui.h"

namespace msb::cli {

namespace {

constexpr std::string_view kLevels = "vm vm-emulated process";

// In single quotes, as all three shells take it.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

// First words: commands without a group, groups, aliases.
std::vector<std::string> FirstWords() {
  std::vector<std::string> words;
  auto add = [&](std::string_view word) {
    if (!word.empty() && std::find(words.begin(), words.end(), word) == words.end())
      words.emplace_back(word);
  };
  for (const CommandInfo& command : Commands()) {
    add(command.name.substr(0, command.name.find(' ')));
    if (command.name.find(' ') == std::string_view::npos)
      for (const std::string& alias : Split(command.aliases, ' ')) add(alias);
  }
  return words;
}

std::vector<std::string> SecondWords(std::string_view group) {
  std::vector<std::string> words;
  for (const CommandInfo& command : Commands())
    if (command.name.starts_with(Cat(group, " ")))
      words.emplace_back(command.name.substr(group.size() + 1));
  return words;
}

// What the operands of a command are: "image", "sandbox", "file", "shell", "command" or "".
std::string OperandKind(const CommandInfo& command) {
  if (command.name == "image import") return "file";
  if (command.name == "help") return "command";
  if (command.operands.find("IMAGE") != std::string_view::npos) return "image";
  if (command.operands.find("SANDBOX") != std::string_view::npos) return "sandbox";
  return command.operands.find("bash") != std::string_view::npos ? "shell" : "";
}

// Names as in a `case`: exe|x.
std::string CasePattern(const CommandInfo& command) {
  std::string pattern = Quoted(command.name);
  if (command.name.find(' ') != std::string_view::npos) {
    if (!command.aliases.empty()) pattern += Cat("|", Quoted(command.aliases));
    return pattern;
  }
  for (const std::string& alias : Split(command.aliases, ' '))
    if (!alias.empty()) pattern += Cat("|", Quoted(alias));
  return pattern;
}

// The part that bash and zsh share: sets options, takes_value and operands from $command.
std::string CommandCases() {
  std::string text = "  case \"$command\" in\n";
  for (const CommandInfo& command : Commands()) {
    std::string options, with_value;
    for (const OptionInfo& option : DescribeOptions(command.name)) {
      for (const std::string& name : option.names) {
        options += name + " ";
        if (!option.value.empty()) with_value += name + " ";
      }
    }
    text += Cat("    ", CasePattern(command), ") options=", Quoted(options),
                "; with_value=", Quoted(with_value), "; operands=", Quoted(OperandKind(command)),
                " ;;\n");
  }
  return text + "  esac\n";
}

// The part that turns `previous`, `operands` and `options` into the list of candidates.
constexpr std::string_view kCandidates = R"sh(  case "$previous" in
    --isolation|--require) candidates="@LEVELS@"; return ;;
    --rootfs) files=1; return ;;
  esac
  case " $with_value " in *" $previous "*) return ;; esac
  case "$current" in -*) candidates="$options"; return ;; esac
  case "$operands" in
    image) candidates="$(msb image list -q 2>/dev/null)" ;;
    sandbox) candidates="$(msb ps -a -q 2>/dev/null)" ;;
    shell) candidates="bash zsh fish" ;;
    command) candidates="@FIRST@" ;;
    file) files=1 ;;
  esac
)sh";

std::string Filled(std::string_view text) {
  std::string filled(text);
  auto replace = [&](std::string_view what, const std::string& with) {
    for (size_t at; (at = filled.find(what)) != std::string::npos;)
      filled.replace(at, what.size(), with);
  };
  replace("@LEVELS@", std::string(kLevels));
  replace("@FIRST@", Join(FirstWords(), " "));
  replace("@IMAGE@", Join(SecondWords("image"), " "));
  replace("@BENCH@", Join(SecondWords("bench"), " "));
  return filled;
}

// Given `words` (without msb), `current` and `previous`: sets `candidates` and `files`. POSIX words
// only, so that bash and zsh run the same text.
std::string SharedFunction() {
  return Filled(R"sh(_msb_candidates() {
  local command="" options="" with_value="" operands="" skip="" word
  candidates="" files=""
  for word in "$@"; do
    if [ -n "$skip" ]; then skip=""; continue; fi
    case "$word" in
      --) return ;;
      -*) ;;
      *)
        case "$command" in
          "") command="$word" ;;
          image|bench) command="$command $word" ;;
        esac ;;
    esac
  done
  case "$command" in
    "") candidates="@FIRST@"; return ;;
    image) candidates="@IMAGE@"; return ;;
    bench) candidates="@BENCH@"; return ;;
  esac
)sh") + CommandCases() +
         Filled(kCandidates) + "}\n";
}

}  // namespace

std::string BashCompletion() {
  return Cat("# Completion of msb for bash.\n", SharedFunction(), R"sh(_msb() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  local candidates files words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
  [ "${COMP_WORDS[0]##*/}" = msx ] && words=(exe "${words[@]}")
  _msb_candidates "${words[@]}"
  COMPREPLY=()
  if [ -n "$files" ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$current")
  fi
}
complete -F _msb msb msx
)sh");
}

std::string ZshCompletion() {
  return Cat("#compdef msb msx\n# Completion of msb for zsh.\n", SharedFunction(), R"sh(_msb() {
  local current="${words[CURRENT]}" previous="${words[CURRENT-1]}" candidates files
  local -a before=("${(@)words[2,CURRENT-1]}")
  [[ "${words[1]:t}" == msx ]] && before=(exe "${before[@]}")
  _msb_candidates "${before[@]}"
  if [[ -n "$files" ]]; then
    _files
  else
    compadd -- ${=candidates}
  fi
}
if [ "$funcstack[1]" = _msb ]; then _msb "$@"; else compdef _msb msb msx; fi
)sh");
}

std::string FishCompletion() {
  std::string text = "# Completion of msb for fish.\n";
  for (const CommandInfo& command : Commands()) {
    size_t space = command.name.find(' ');
    std::string first(command.name.substr(0, space));
    std::string condition = Cat("__fish_seen_subcommand_from ", first);
    if (space == std::string_view::npos) {
      for (const std::string& alias : Split(command.aliases, ' '))
        if (!alias.empty()) condition += Cat(" ", alias);
      text += Cat("complete -c msb -f -n __fish_use_subcommand -a ", first, " -d ",
                  Quoted(command.summary), "\n");
    } else {
      std::string second(command.name.substr(space + 1));
      text += Cat("complete -c msb -f -n ",
                  Quoted(Cat(condition, "; and not __fish_seen_subcommand_from ",
                             Join(SecondWords(first), " "))),
                  " -a ", second, " -d ", Quoted(command.summary), "\n");
      condition += Cat("; and __fish_seen_subcommand_from ", second);
    }
    for (const OptionInfo& option : DescribeOptions(command.name)) {
      if (option.names.empty()) continue;
      text += Cat("complete -c msb -n ", Quoted(condition));
      for (const std::string& name : option.names)
        text += name.starts_with("--") ? Cat(" -l ", name.substr(2)) : Cat(" -s ", name.substr(1));
      if (option.value == "LEVEL")
        text += Cat(" -x -a ", Quoted(kLevels));
      else if (!option.value.empty())
        text += " -r";
      text += Cat(" -d ", Quoted(option.help), "\n");
    }
    std::string kind = OperandKind(command);
    std::string from = kind == "image"     ? "(msb image list -q 2>/dev/null)"
                       : kind == "sandbox" ? "(msb ps -a -q 2>/dev/null)"
                       : kind == "shell"   ? "bash zsh fish"
                                           : "";
    if (!from.empty())
      text += Cat("complete -c msb -f -n ", Quoted(condition), " -a ", Quoted(from), "\n");
  }
  for (std::string_view group : {"image", "bench"})
    text += Cat("complete -c msb -f -n __fish_use_subcommand -a ", group, "\n");
  return text + "complete -c msx -w 'msb exe'\n";
}

int RunCompletion(const CompletionOptions& options) {
  if (options.shell == "bash") {
    Print(BashCompletion());
  } else if (options.shell == "zsh") {
    Print(ZshCompletion());
  } else if (options.shell == "fish") {
    Print(FishCompletion());
  } else {
    return Fail(Error(Code::kInvalidArgument, Cat("no completion for ", Escape(options.shell, 80)))
                    .Remedy("run: msb completion bash, zsh or fish"),
                Format::kText, kExitNotStarted);
  }
  return 0;
}

}  // namespace msb::cli
