// SPDX-License-Identifier: Apache-2.0
// The ids beside his own that /etc/subuid and /etc/subgid give an ordinary user (subuid(5),
// subgid(5)), and the setuid helpers that map them: newuidmap(1) and newgidmap(1), which check
// against the same files. They are run, never linked.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::jail {

struct SubordinateRange {
  uint32_t first, count;

  bool operator==(const SubordinateRange&) const = default;
};

// Of lines "alice:100000:65536" or "1000:100000:65536" those of one user, in their order, at most
// kMostSubordinateRanges; lines of another shape, and ranges that hold id 0 or end above the last
// id, give nothing. An empty name is nobody's.
inline constexpr size_t kMostSubordinateRanges = 64;
std::vector<SubordinateRange> ParseSubordinateIds(std::string_view text, std::string_view name,
                                                  uint32_t id);

// Who has the id by the lines of passwd(5); empty when nobody.
std::string NameOfUser(std::string_view passwd, uint32_t id);

struct SubordinateSource {
  std::string subuid = "/etc/subuid", subgid = "/etc/subgid", passwd = "/etc/passwd";
  std::vector<std::string> helpers = {"/usr/bin", "/usr/local/bin", "/bin"};  // Not by PATH.
  // For locks; made 0700. Empty: a directory of the user's in $XDG_RUNTIME_DIR, else in $HOME.
  std::string directory;
};

struct SubordinateIds {
  uint32_t first_uid, first_gid, count;
  // Held: no other sandbox of this user has any of these. Else they are those that all of his
  // sandboxes share.
  UniqueFd lock;
  std::string newuidmap, newgidmap;
};

// Of a user with two times kSubordinateChunk ids or more, the first kSubordinateChunk are shared
// and each other such part is one sandbox's own, as long as any is free. Errors say what is missing
// and what to do.
inline constexpr uint32_t kSubordinateChunk = 65'536;
Result<SubordinateIds> ClaimSubordinateIds(const SubordinateSource& source = {});

// Of the user namespace of our child `pid`: `own_uid` and `own_gid` of ours are 0, the others 1 and
// on. Groups can be set there afterwards.
Result<void> MapSubordinateIds(int pid, uint32_t own_uid, uint32_t own_gid,
                               const SubordinateIds& ids);

}  // namespace msb::jail
