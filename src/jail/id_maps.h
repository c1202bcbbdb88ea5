// SPDX-License-Identifier: Apache-2.0
// How a user namespace learns its ids: three files of /proc/PID, once, in this order
// (user_namespaces(7)). By the parent, or where one id is mapped, which is its own, by the init
// itself.

#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace msb::jail {

struct IdMapFile {
  const char* name;
  const char* text;  // Null: not to be written.
};
using IdMapFiles = std::array<IdMapFile, 3>;  // setgroups, uid_map, gid_map.

struct IdMaps {
  std::string uid, gid;         // "0 1000 1\n": inside, outside, how many.
  bool deny_setgroups = false;  // Without setgroups the kernel lets an ordinary user map a group.

  // Leads into these strings.
  IdMapFiles Files() const;
};

// The caller's own, as these inside.
IdMaps MapOwnIds(uint32_t uid, uint32_t gid);
// Of process `pid`, which is in a new user namespace of ours.
Result<void> WriteIdMaps(int pid, const IdMaps& maps);

}  // namespace msb::jail
