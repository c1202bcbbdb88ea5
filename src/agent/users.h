// SPDX-License-Identifier: Apache-2.0
// Who an exec runs as: a small reader of the image's own passwd and group files. Both are untrusted
// text: pure functions with limits, and lines that make no sense are passed over.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace msb::agent {

// What is read of each file, lines longer than kMaxAccountLine left out.
inline constexpr size_t kMaxAccountFile = 1 << 20;
inline constexpr size_t kMaxAccountLine = 4096;
inline constexpr size_t kMaxGroups = 256;

struct Account {
  std::string name;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string home;
};

// The first line whose name is `who`, or whose uid is the number `who`.
std::optional<Account> FindAccount(std::string_view passwd, std::string_view who);
// The gid of the group called `who`.
std::optional<uint32_t> FindGroup(std::string_view group, std::string_view who);
// The gids of the groups that name `user` as a member, at most kMaxGroups.
std::vector<uint32_t> GroupsOf(std::string_view group, std::string_view user);

struct Identity {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // Supplementary.
  std::string name;              // Empty: the uid has no account.
  std::string home;
};

// `user` is "", "name", "uid", "name:group" or "uid:gid", as Docker reads it: a number needs no
// account, and with a group given there are no supplementary ones. kNotFound: no such user or
// group.
Result<Identity> ResolveIdentity(std::string_view user, std::string_view passwd,
                                 std::string_view group);

}  // namespace msb::agent
