// SPDX-License-Identifier: Apache-2.0
// The arguments of msb-vmm: numbers, and the numbers of inherited descriptors. No paths.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/machine/machine.h"

namespace msb::vmm {

struct Arguments {
  MachineSpec spec;
  int kvm = -1;
  int kernel = -1;
  int initramfs = -1;
  int root = -1;
  int upper = -1;
  int agent = -1;
  int console = -1;
  int control = -1;
};

// All are needed but --verbose-console, each once, no descriptor twice and none of the first three.
Result<Arguments> ParseArguments(std::span<const std::string_view> words);

}  // namespace msb::vmm
