// SPDX-License-Identifier: Apache-2.0
// The one grammar of names that users give (sandboxes, users, hosts) and of sandbox ids.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace msb {

// 1 to 63 characters of [A-Za-z0-9_-], the first alphanumeric. `what` names the thing in errors.
Result<void> CheckName(std::string_view name, std::string_view what);

// A DNS host name: labels of [A-Za-z0-9-] joined by dots, 64 bytes at most (Linux's limit).
Result<void> CheckHostname(std::string_view name);

}  // namespace msb
