// SPDX-License-Identifier: Apache-2.0
// Interrupt: the line from one device to its guest.

#pragma once

namespace msb::vmm {

// Any thread may raise. An edge: one Raise() is one interrupt, whatever came before.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual void Raise() = 0;
};

}  // namespace msb::vmm
