// SPDX-License-Identifier: Apache-2.0
// A hostile peer of both halves of a stream: its numbers are arbitrary, the invariants stay.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "protocol/stream.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb::protocol;
  msb::ByteReader in(std::as_bytes(std::span(data, size)));
  SendStream send;
  ReceiveStream receive(4096);
  std::vector<std::byte> bytes(8192);
  while (true) {
    auto what = in.Number<uint8_t>();
    auto a = in.Number<uint32_t>();
    auto b = in.Number<uint32_t>();
    if (!what.ok() || !a.ok() || !b.ok()) break;
    // Small numbers near each other, and now and then enormous ones.
    uint64_t first = *what & 0x80 ? ~uint64_t{*a} : *a % 10000;
    uint64_t second = *what & 0x40 ? ~uint64_t{*b} : *b % 10000;
    switch (*what % 9) {
      case 0:
        send.Append(std::span(bytes).first(std::min<size_t>(send.Room(), first % 8192)));
        break;
      case 1:
        if (auto chunk = send.Next(1 + first % 5000)) send.Sent(chunk->bytes.size());
        break;
      case 2:
        (void)send.OnCredit(first, second);
        break;
      case 3:
        send.Rewind();
        break;
      case 4:
        if (first % 16 == 0) send.Close();
        if (send.EofDue()) send.EofSent();
        break;
      case 5:
        (void)receive.OnData(first, std::span(bytes).first(second % 8192));
        break;
      case 6:
        (void)receive.OnEof(first);
        break;
      case 7:
        receive.Consumed(std::min(receive.received() - receive.consumed(), first));
        break;
      default:
        if (receive.CreditDue()) receive.CreditSent();
        break;
    }
    CHECK(send.held() <= kMaxHeld);
    CHECK(receive.consumed() <= receive.received());
    CHECK(receive.received() - receive.consumed() <= 4096);
  }
  return 0;
}
