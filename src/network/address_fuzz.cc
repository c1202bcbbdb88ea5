// SPDX-License-Identifier: Apache-2.0
// Fuzzes what users type: whatever is read is read again from how it is written.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "network/address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb::network;  // NOLINT(google-build-using-namespace)
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto cidr = ParseCidr(text)) {
    CHECK(*ParseCidr(FormatCidr(*cidr)) == *cidr);
    CHECK(cidr->Contains(cidr->address));
  }
  if (auto address = ParseAddress(text)) CHECK(FormatAddress(*address) == text);
  if (auto port = ParsePublishedPort(text)) {
    CHECK(port->port != 0 && port->host_port != 0);
    CHECK(*ParsePublishedPort(FormatPublishedPort(*port)) == *port);
  }
  return 0;
}
