// SPDX-License-Identifier: Apache-2.0
// Options, an image's wishes and the caller's surroundings made into what the domain takes:
// SandboxSpec and ExecSpec. Pure.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "image/store/image_config.h"
#include "programs/msb/options.h"
#include "protocol/messages.h"
#include "sandbox/spec.h"

namespace msb::cli {

// What of the caller a run depends on.
struct Surroundings {
  bool stdin_terminal = false;
  bool stdout_terminal = false;
  std::optional<protocol::TerminalSize> size;
  std::function<std::optional<std::string>(const char*)> get_env;
};
Surroundings CurrentSurroundings();
// Of stdin's terminal, else of stdout's.
std::optional<protocol::TerminalSize> CallersTerminalSize();

// The image's environment, user and directory apply; options override. Without a command: the
// image's own, and a shell where there is none.
Result<protocol::ExecSpec> MakeExecSpec(const ProgramOptions& options,
                                        const store::ImageConfig& image,
                                        const Surroundings& around);

// A shell by the best name there is: bash, else sh.
std::vector<std::string> ShellCommand();

// Without `main`, isolation, and the digest, which are found out later.
Result<sandbox::SandboxSpec> MakeSandboxSpec(const ExeOptions& options);

}  // namespace msb::cli
