// SPDX-License-Identifier: Apache-2.0
#include "jail/box/refusals.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace msb::box {

bool RefusalTable::Note(const CallKind& kind, int error, bool continued, std::string_view why) {
  auto known = std::find_if(kinds_.begin(), kinds_.end(), [&](const Refusal& one) {
    return one.kind == kind && one.error == error && one.continued == continued;
  });
  if (known != kinds_.end()) {
    known->count++;
    return false;
  }
  if (kinds_.size() == kMaxKinds) {
    others_++;
    return false;
  }
  kinds_.push_back({kind, error, continued, 1, why});
  return true;
}

std::string KindText(const CallKind& kind) {
  std::string arguments = KindArguments(kind);
  return Cat(CallName(kind.number), arguments.empty() ? "" : " ", arguments);
}

std::string ErrorName(int error) {
  const char* name = ::strerrorname_np(error);
  return name == nullptr ? Cat("errno ", error) : std::string(name);
}

}  // namespace msb::box
