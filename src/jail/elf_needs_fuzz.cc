// SPDX-License-Identifier: Apache-2.0
// Fuzzes the readers of ELF files and of the loader's cache: any bytes, no crash, no read outside.

#include "jail/elf_needs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  (void)msb::jail::ParseElfNeeds(bytes);
  (void)msb::jail::ParseLoaderCache(bytes);
  return 0;
}
