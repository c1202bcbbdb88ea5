// SPDX-License-Identifier: Apache-2.0
// Any text as an image's passwd and group, any name as its user: the first line of the input is the
// user, then comes passwd, and after a zero byte group.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "agent/users.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb::agent;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  auto line = std::min(input.find('\n'), input.size());
  auto user = input.substr(0, line);
  auto files = input.substr(std::min(line + 1, input.size()));
  auto zero = std::min(files.find('\0'), files.size());
  auto passwd = files.substr(0, zero);
  auto group = files.substr(std::min(zero + 1, files.size()));

  auto identity = ResolveIdentity(user, passwd, group);
  if (identity.ok()) {
    CHECK(identity->uid != UINT32_MAX && identity->gid != UINT32_MAX);
    CHECK(identity->groups.size() <= kMaxGroups);
    CHECK(!identity->home.empty());
    for (uint32_t gid : identity->groups) CHECK(gid != UINT32_MAX);
  } else {
    CHECK(identity.error().code() == msb::Code::kNotFound);
  }
  if (auto account = FindAccount(passwd, user))
    CHECK(account->name.size() + account->home.size() <= kMaxAccountLine);
  return 0;
}
