// SPDX-License-Identifier: Apache-2.0
// Any bytes as a config document; what is accepted must come back the same after being written.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/store/image_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb::store;
  // SAFETY: char may alias anything.
  auto config = ParseImageConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok()) return 0;
  Descriptor layer{"", *Digest::Parse("sha256:" + std::string(64, '0')), 0};
  auto again = ParseImageConfig(WriteImageConfig(*config, layer));
  CHECK(again.ok() && *again == *config);
  return 0;
}
