// SPDX-License-Identifier: Apache-2.0
// Whether this host gives sandboxes a cgroup with limits: one is made, the way that a sandbox's is.

#pragma once

#include "sandbox/probe.h"

namespace msb::sandbox {

HostCheck CheckCgroup();

}  // namespace msb::sandbox
