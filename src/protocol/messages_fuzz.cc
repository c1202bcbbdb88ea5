// SPDX-License-Identifier: Apache-2.0
// The first byte picks a parser, the rest is its body. What is accepted encodes to the same bytes.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace {

using namespace msb::protocol;

template <class Parse>
void Try(Parse parse, ByteSpan body) {
  auto message = parse(body);
  if (!message.ok()) return;
  Bytes again = Encode(*message);
  CHECK(std::equal(again.begin(), again.end(), body.begin(), body.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > kMaxBody + 1) return 0;
  auto body = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 8) {
    case 0:
      Try(ParseHello, body);
      break;
    case 1:
      Try(ParseMachineConfig, body);
      break;
    case 2:
      Try(ParseTerminalSize, body);
      break;
    case 3:
      Try(ParseExecSpec, body);
      break;
    case 4:
      Try(ParseExecStarted, body);
      break;
    case 5:
      Try(ParseExecFailed, body);
      break;
    case 6:
      Try(ParseExecExit, body);
      break;
    default:
      Try(ParseErrorBody, body);
      break;
  }
  return 0;
}
