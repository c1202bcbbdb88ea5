// SPDX-License-Identifier: Apache-2.0
// The values of --net, --net-allow and --publish.

#pragma once

#include <string_view>

#include "base/result.h"
#include "programs/microbox/options.h"

namespace msb::microbox {

Result<void> SetNetwork(Options& options, std::string_view value);
Result<void> AllowNetwork(Options& options, std::string_view value);
Result<void> PublishPort(Options& options, std::string_view value);
// What the options say together, and the name servers as addresses.
Result<void> FinishNetwork(Options& options);

}  // namespace msb::microbox
