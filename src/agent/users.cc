// SPDX-License-Identifier: Apache-2.0
// Reading passwd(5) and group(5).

#include "agent/users.h"

#include <array>
#include <functional>

#include "base/text.h"

namespace msb::agent {
namespace {

// Cuts `rest` at the first `separator`; returns what is before it.
std::string_view Cut(std::string_view& rest, char separator) {
  auto at = rest.find(separator);
  auto front = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return front;
}

// setresuid() takes -1 for "leave it": never an id.
std::optional<uint32_t> ParseId(std::string_view text) {
  auto id = ParseNumber<uint32_t>(text);
  return id && *id != UINT32_MAX ? id : std::nullopt;
}

// Calls `each` with the lines until it returns true.
void ForEachLine(std::string_view text, const std::function<bool(std::string_view)>& each) {
  text = text.substr(0, kMaxAccountFile);
  while (!text.empty()) {
    auto line = Cut(text, '\n');
    if (line.empty() || line[0] == '#' || line.size() > kMaxAccountLine) continue;
    if (each(line)) return;
  }
}

std::optional<Account> ParseAccount(std::string_view line) {
  Account account;
  account.name = Cut(line, ':');
  Cut(line, ':');  // Password.
  auto uid = ParseId(Cut(line, ':'));
  auto gid = ParseId(Cut(line, ':'));
  Cut(line, ':');  // Comment.
  account.home = Cut(line, ':');
  if (account.name.empty() || !uid || !gid) return std::nullopt;
  account.uid = *uid;
  account.gid = *gid;
  return account;
}

struct GroupLine {
  std::string_view name;
  uint32_t gid;
  std::string_view members;
};

std::optional<GroupLine> ParseGroup(std::string_view line) {
  auto name = Cut(line, ':');
  Cut(line, ':');
  auto gid = ParseId(Cut(line, ':'));
  if (name.empty() || !gid) return std::nullopt;
  return GroupLine{name, *gid, Cut(line, ':')};
}

Error Unknown(std::string_view what, std::string_view name) {
  return Error(Code::kNotFound, Cat("the image has no ", what, " \"", Escape(name, 64), "\""));
}

}  // namespace

std::optional<Account> FindAccount(std::string_view passwd, std::string_view who) {
  std::optional<Account> by_name, by_id;
  auto id = ParseId(who);
  ForEachLine(passwd, [&](std::string_view line) {
    auto account = ParseAccount(line);
    if (!account) return false;
    if (account->name == who)
      by_name = std::move(account);
    else if (id && account->uid == *id && !by_id)
      by_id = std::move(account);
    return by_name.has_value();
  });
  return by_name ? by_name : by_id;
}

std::optional<uint32_t> FindGroup(std::string_view group, std::string_view who) {
  std::optional<uint32_t> found;
  ForEachLine(group, [&](std::string_view line) {
    auto parsed = ParseGroup(line);
    if (parsed && parsed->name == who) found = parsed->gid;
    return found.has_value();
  });
  return found;
}

std::vector<uint32_t> GroupsOf(std::string_view group, std::string_view user) {
  std::vector<uint32_t> gids;
  ForEachLine(group, [&](std::string_view line) {
    auto parsed = ParseGroup(line);
    if (!parsed) return false;
    while (!parsed->members.empty()) {
      if (Cut(parsed->members, ',') != user) continue;
      gids.push_back(parsed->gid);
      break;
    }
    return gids.size() >= kMaxGroups;
  });
  return gids;
}

Result<Identity> ResolveIdentity(std::string_view user, std::string_view passwd,
                                 std::string_view group) {
  std::string_view group_name = user;
  std::string_view user_name = Cut(group_name, ':');
  if (user_name.empty()) user_name = "0";

  Identity identity;
  identity.home = "/";
  if (auto account = FindAccount(passwd, user_name)) {
    identity.uid = account->uid;
    identity.gid = account->gid;
    identity.name = account->name;
    if (!account->home.empty()) identity.home = account->home;
  } else if (auto uid = ParseId(user_name)) {
    identity.uid = *uid;
    // An image without a passwd file still has a root.
    if (*uid == 0) {
      identity.name = "root";
      identity.home = "/root";
    }
  } else {
    return Unknown("user", user_name);
  }

  if (group_name.empty()) {
    if (!identity.name.empty()) identity.groups = GroupsOf(group, identity.name);
  } else if (auto gid = FindGroup(group, group_name)) {
    identity.gid = *gid;
  } else if (auto number = ParseId(group_name)) {
    identity.gid = *number;
  } else {
    return Unknown("group", group_name);
  }
  return identity;
}

}  // namespace msb::agent
