// SPDX-License-Identifier: Apache-2.0
// Bytes of a client against the relay. Whatever it sends, the agent's side must not be declared
// faulty by it.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "sandbox/relay_fuzz_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  msb::sandbox::RelayUnderFuzz relay;
  if ((data[0] & 1) != 0) {
    relay.FromClient(msb::sandbox::ClientOpening());
    relay.FromAgent(msb::sandbox::AgentOpening());
  }
  relay.FromClient(bytes);
  CHECK(!relay.faulty());
  return 0;
}
