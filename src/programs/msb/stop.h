// SPDX-License-Identifier: Apache-2.0
// Ending a running sandbox and waiting until everything of it is gone.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

// Without grace: at once. A sandbox that has ended already is fine.
Result<void> EndSandbox(const sandbox::Home& home, const sandbox::RecordInfo& record,
                        std::optional<std::chrono::milliseconds> grace);

// Calls `act` for each and prints the names for which it answers true, or as JSON
// {"`done`":[...]}. One that fails does not stop the others. Returns the exit code.
int ForEachSandbox(
    const std::vector<std::string>& names, bool json, std::string_view done,
    const std::function<Result<bool>(const sandbox::Home&, const std::string&)>& act);

}  // namespace msb::cli
