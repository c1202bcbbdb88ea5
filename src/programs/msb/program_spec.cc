// SPDX-License-Identifier: Apache-2.0
// The rules by which flags, image and caller make one program.

#include "programs/msb/program_spec.h"

#include <algorithm>

#include "base/text.h"
#include "programs/msb/ui.h"
#include "sys/process.h"
#include "sys/terminal.h"

namespace msb::cli {

namespace {

void SetVariable(std::vector<std::string>& env, const std::string& entry) {
  std::string_view key = std::string_view(entry).substr(0, entry.find('=') + 1);
  auto same = std::find_if(env.begin(), env.end(),
                           [&](const std::string& other) { return other.starts_with(key); });
  if (same != env.end())
    *same = entry;
  else
    env.push_back(entry);
}

std::vector<std::string> Environment(const ProgramOptions& options, const store::ImageConfig& image,
                                     const Surroundings& around, bool terminal) {
  std::vector<std::string> env;
  if (auto term = around.get_env("TERM"); terminal && term && !term->empty())
    env.push_back("TERM=" + *term);
  for (const std::string& entry : image.env)
    if (entry.find('=') != std::string::npos && entry[0] != '=') SetVariable(env, entry);
  for (const std::string& entry : options.env) {
    if (entry.find('=') != std::string::npos) {
      SetVariable(env, entry);
    } else if (auto value = around.get_env(entry.c_str())) {
      SetVariable(env, Cat(entry, "=", *value));
    }
  }
  return env;
}

}  // namespace

std::optional<protocol::TerminalSize> CallersTerminalSize() {
  auto size = sys::GetWindowSize(0);
  if (!size) size = sys::GetWindowSize(1);
  if (!size) return std::nullopt;
  // Half a size is none.
  if (size->ws_row == 0 || size->ws_col == 0) return protocol::TerminalSize{};
  return protocol::TerminalSize{size->ws_row, size->ws_col};
}

Surroundings CurrentSurroundings() {
  return {.stdin_terminal = IsTerminal(0),
          .stdout_terminal = IsTerminal(1),
          .size = CallersTerminalSize(),
          .get_env = sys::GetEnv};
}

std::vector<std::string> ShellCommand() {
  return {"/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"};
}

Result<protocol::ExecSpec> MakeExecSpec(const ProgramOptions& options,
                                        const store::ImageConfig& image,
                                        const Surroundings& around) {
  protocol::ExecSpec exec;
  exec.argv = options.command;
  if (exec.argv.empty()) exec.argv = store::DefaultCommand(image);
  if (exec.argv.empty()) exec.argv = ShellCommand();
  if (exec.argv[0].empty())
    return Error(Code::kInvalidArgument, "the command's name is empty")
        .Remedy("put the program's name after --");

  bool both = around.stdin_terminal && around.stdout_terminal && !options.no_stdin;
  exec.terminal = options.terminal == TerminalMode::kAlways ||
                  (options.terminal == TerminalMode::kAuto && both);
  exec.stdin_open = !options.no_stdin;
  if (around.size) exec.size = *around.size;
  exec.env = Environment(options, image, around, exec.terminal);
  exec.user = options.user.value_or(image.user);
  exec.workdir = image.working_dir.empty() ? "/" : image.working_dir;
  if (exec.workdir[0] != '/') exec.workdir.insert(0, 1, '/');
  if (options.workdir) exec.workdir = *options.workdir;
  if (exec.workdir[0] != '/')
    return Error(Code::kInvalidArgument,
                 Cat("--workdir ", Escape(exec.workdir, 80), ": not an absolute path"))
        .Remedy("write it from the image's root: --workdir /srv");
  TRY(protocol::CheckExecSpec(exec));
  return exec;
}

Result<sandbox::SandboxSpec> MakeSandboxSpec(const ExeOptions& options) {
  sandbox::SandboxSpec spec;
  spec.name = options.name;
  spec.image = options.image;
  spec.lifetime = options.detach ? sandbox::Lifetime::kDetached : sandbox::Lifetime::kAttached;
  spec.require_limits = options.require_limits;
  spec.cgroup = options.cgroup;
  spec.cpus = options.cpus;
  spec.memory_bytes = options.memory_bytes;
  spec.storage_bytes = options.storage_bytes;
  spec.hostname = options.hostname;
  spec.timeout = options.timeout;
  spec.debug_console = options.debug_console;
  TRY(sandbox::CheckSpec(spec));
  return spec;
}

}  // namespace msb::cli
