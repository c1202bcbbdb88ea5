// SPDX-License-Identifier: Apache-2.0
// Any bytes, fed in pieces whose sizes the input chooses: what comes out is the bytes that went in.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "protocol/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb::protocol;
  if (size == 0) return 0;
  size_t piece = 1 + data[0] * 7u;
  auto input = std::as_bytes(std::span(data, size)).subspan(1);
  FrameReader reader;
  std::vector<std::byte> again;
  size_t fed = 0;
  while (true) {
    auto frame = reader.Next();
    if (!frame.ok()) break;
    if (frame->has_value()) {
      AppendFrame(again, (*frame)->header, (*frame)->body);
      continue;
    }
    if (fed == input.size()) break;
    auto space = reader.Space();
    CHECK(space.size() >= kMaxFrame);
    size_t count = std::min({piece, space.size(), input.size() - fed});
    std::copy_n(input.begin() + static_cast<ptrdiff_t>(fed), count, space.begin());
    reader.Filled(count);
    fed += count;
  }
  CHECK(again.size() <= input.size());
  CHECK(std::equal(again.begin(), again.end(), input.begin()));
  return 0;
}
