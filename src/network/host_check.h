// SPDX-License-Identifier: Apache-2.0
// Whether this host gives sandboxes a network, by trying: in network namespaces of a child, so that
// the host's own is not touched.

#pragma once

#include "base/result.h"

namespace msb::network {

// What a bridge needs: run by root all of it is made and taken away, run by an ordinary user the
// rules are, and what carries is looked for. The caller has one thread.
Result<void> TryBridge();

}  // namespace msb::network
