// SPDX-License-Identifier: Apache-2.0
// Fuzzes the command line: words divided by zero bytes.

#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "programs/microbox/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto words = msb::Split(text, '\0');
  std::vector<std::string_view> views(words.begin(), words.end());
  auto options = msb::microbox::ParseOptions(views);
  if (!options) {
    CHECK(!options.error().message().empty() && !options.error().remedy().empty());
    return 0;
  }
  using Action = msb::microbox::Options::Action;
  if (options->action != Action::kRun) return 0;
  CHECK(!options->spec.argv.empty() && options->spec.storage_bytes > 0);
  for (const auto& bind : options->spec.binds) CHECK(bind.target.starts_with('/'));
  return 0;
}
