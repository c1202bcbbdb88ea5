// SPDX-License-Identifier: Apache-2.0
// Fuzzes profiles: what is read is written and read again as the same rules, and a policy of them
// decides.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "jail/box/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto rules = msb::box::ParseProfile(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!rules) {
    CHECK(!rules.error().message().empty() && !rules.error().remedy().empty());
    return 0;
  }
  std::string text;
  for (const msb::box::CallRule& rule : *rules) text += msb::box::FormatRule(rule) + "\n";
  auto again = msb::box::ParseProfile(text);
  CHECK(again.ok() && again->size() == rules->size());
  std::string twice;
  for (const msb::box::CallRule& rule : *again) twice += msb::box::FormatRule(rule) + "\n";
  CHECK(text == twice);
  auto policy = msb::box::CallPolicy::Create(*rules);
  if (policy) (void)policy->Decide(41, {});
  return 0;
}
