// SPDX-License-Identifier: Apache-2.0
// Any words as arguments: what is taken names eight different descriptors above 2.

#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "programs/msb_vmm/arguments.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  auto arguments = msb::vmm::ParseArguments(words);
  if (!arguments) return 0;
  std::set<int> fds = {arguments->kvm,     arguments->kernel, arguments->initramfs,
                       arguments->root,    arguments->upper,  arguments->agent,
                       arguments->console, arguments->control};
  CHECK(fds.size() == 8 && *fds.begin() > 2);
  return 0;
}
