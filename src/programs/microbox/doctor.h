// SPDX-License-Identifier: Apache-2.0
// microbox --doctor: what sandboxes need of this host, by trying.

#pragma once

#include <span>
#include <string>

#include "jail/box/host_check.h"
#include "programs/microbox/options.h"

namespace msb::microbox {

// CheckHost() and the limits of `options`, which are set upon a cgroup and taken away again.
std::vector<box::HostCheck> Examine(const Options& options);

// Whether the default sandbox starts with everything.
bool DefaultWorks(std::span<const box::HostCheck> checks);

std::string DoctorText(std::span<const box::HostCheck> checks);
// {"default_works":true,"checks":[{"name":..,"state":"ok","tried":..,"result":..,"cost":null,
//  "fix":null}]}
std::string DoctorJson(std::span<const box::HostCheck> checks);

}  // namespace msb::microbox
