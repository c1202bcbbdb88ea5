// SPDX-License-Identifier: Apache-2.0
// The kernel's network settings as files below /proc/sys/net, which show those of the opener's
// network namespace.

#pragma once

#include <string>

#include "base/result.h"
#include "network/link.h"

namespace msb::network {

// Whether the kernel has IPv6 at all.
Ipv6 FindIpv6();
// Interfaces made from now on have no IPv6.
Result<void> DisableIpv6();

// Whether the host is a router on all its interfaces: somebody wants it to be.
Result<bool> ForwardsEverywhere();
Result<bool> Forwards(const std::string& link);
Result<void> SetForwards(const std::string& link, bool on);

}  // namespace msb::network
