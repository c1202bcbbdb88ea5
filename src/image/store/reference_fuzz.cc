// SPDX-License-Identifier: Apache-2.0
// Any text as a reference; what is accepted must survive its own forms and be safe as a file name.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/store/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using msb::store::Reference;
  // SAFETY: char may alias anything.
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto reference = Reference::Parse(text);
  auto resolution = msb::store::Resolve(text);
  CHECK(reference.ok() == resolution.ok());
  if (!reference.ok()) return 0;
  CHECK(reference->Canonical().size() <= 240);
  CHECK(reference->Canonical().find("..") == std::string::npos || !reference->tag().empty());
  CHECK(*Reference::Parse(reference->Canonical()) == *reference);
  CHECK(*Reference::Parse(reference->Familiar()) == *reference);
  CHECK(msb::store::Resolve(reference->Familiar())->reference == *reference);
  return 0;
}
