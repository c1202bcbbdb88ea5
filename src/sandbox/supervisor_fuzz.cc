// SPDX-License-Identifier: Apache-2.0
// Bytes of a hostile guest against the relay, after an honest start with two open execs; a leading
// byte with its lowest bit off leaves the start out.

#include <cstddef>
#include <cstdint>

#include "sandbox/relay_fuzz_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  msb::sandbox::RelayUnderFuzz relay;
  relay.FromClient(msb::sandbox::ClientOpening());
  if ((data[0] & 1) != 0) relay.FromAgent(msb::sandbox::AgentOpening());
  relay.FromAgent(bytes);
  relay.FromClient(msb::sandbox::ClientOpening());
  return 0;
}
