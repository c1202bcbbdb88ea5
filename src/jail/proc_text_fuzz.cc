// SPDX-License-Identifier: Apache-2.0
// Fuzzes the readers of /proc: any bytes, no crash, no read outside.

#include "jail/proc_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)msb::jail::ParseTaskStatus(text);
  (void)msb::jail::ParseProcessLimits(text);
  (void)msb::jail::ParseProcessMounts(text);
  return 0;
}
