// SPDX-License-Identifier: Apache-2.0
// The console's queues and control messages (virtio 1.2, 5.3.2, 5.3.6.2): port 0 the console, port
// 1 the agent channel.

#pragma once

#include <cstdint>

#include "virtio.h"

namespace msb::test_guest {

enum ConsoleQueue : uint32_t {
  kConsoleReceive,
  kConsoleTransmit,
  kControlReceive,
  kControlTransmit,
  kAgentReceive,
  kAgentTransmit,
};
inline constexpr uint32_t kConsolePort = 0, kAgentPort = 1;

// `buffer` has room for the eight bytes. False when the device did not take them.
bool SendControl(Driver& console, uint32_t port, uint16_t event, uint16_t value, uint64_t buffer);
bool OpenAgentPort(Driver& console, uint64_t buffer, bool open = true);

}  // namespace msb::test_guest
