// SPDX-License-Identifier: Apache-2.0
// The names.

#include "vmm/machine/outcome.h"

namespace msb::vmm {

std::string_view OutcomeName(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::kGuestReset:
      return "guest-reset";
    case Outcome::Kind::kGuestHalted:
      return "guest-halted";
    case Outcome::Kind::kBootFailed:
      return "boot-failed";
    case Outcome::Kind::kKvmError:
      return "kvm-error";
    case Outcome::Kind::kInternal:
      return "internal";
  }
  return "internal";
}

}  // namespace msb::vmm
