// SPDX-License-Identifier: Apache-2.0
// How a machine ends, by name.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msb::vmm {

struct Outcome {
  enum class Kind : uint8_t {
    kGuestReset,   // Triple fault: a reset, a power-off or a panic; from outside they look alike.
    kGuestHalted,  // Every way to go on is shut.
    kBootFailed,   // Never ran: memory, kernel or disks could not be had.
    kKvmError,     // KVM or the processor refused.
    kInternal,     // A bug of ours, or nobody is left to run for.
  };
  Kind kind = Kind::kInternal;
  std::string detail;  // In words: "triple fault on CPU 0".

  bool by_guest() const { return kind == Kind::kGuestReset || kind == Kind::kGuestHalted; }
};

// "guest-reset": as the control socket has it.
std::string_view OutcomeName(Outcome::Kind kind);

}  // namespace msb::vmm
