// SPDX-License-Identifier: Apache-2.0
// Which isolation a command line asks for: its own word, else that of the environment.

#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/probe.h"

namespace msb::cli {

// One of vm, vm-emulated and process, for starts that say no --isolation. Empty is as good as
// unset.
inline constexpr const char* kIsolationVariable = "MICROSANDBOX_ISOLATION";

using GetEnv = std::function<std::optional<std::string>(const char*)>;

// nullopt: unset. An error names the variable.
Result<std::optional<sandbox::Isolation>> IsolationOfEnvironment(const GetEnv& get_env);

// ChooseIsolation() for `flag`, else for the environment's word. What the environment has chosen is
// no less weak for being written far away: where it is not `vm` the note says so, and by what.
Result<sandbox::Choice> ChooseIsolation(BorrowedFd cache_dir,
                                        std::optional<sandbox::Isolation> flag,
                                        std::optional<sandbox::Isolation> required,
                                        const GetEnv& get_env);

}  // namespace msb::cli
