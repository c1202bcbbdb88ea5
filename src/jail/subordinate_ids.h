// SPDX-License-Identifier: Apache-2.0
// The ids beside his own that /etc/subuid and /etc/subgid give an ordinary user (subuid(5),
// subgid(5)), and the setuid helpers that map them: newuidmap(1) and newgidmap(1), which check
// against the same files. They are run, never linked.

#pragma once

#include <cstdint>
#include <optional>
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
// id, give nothing. Lines that share ids give one range, in the place of the first: no two of the
// answer overlap. An empty name is nobody's.
inline constexpr size_t kMostSubordinateRanges = 64;
std::vector<SubordinateRange> ParseSubordinateIds(std::string_view text, std::string_view name,
                                                  uint32_t id);

// Who has the id by the lines of passwd(5).
struct PasswdUser {
  std::string name, home;  // Empty where the line has none.
};
std::optional<PasswdUser> FindPasswdUser(std::string_view passwd, uint32_t id);

struct SubordinateSource {
  std::string subuid = "/etc/subuid", subgid = "/etc/subgid", passwd = "/etc/passwd";
  std::vector<std::string> helpers = {"/usr/bin", "/usr/local/bin", "/bin"};  // Not by PATH.
  // For locks; made 0700. Empty: kSubordinateDirectory in the home that passwd(5) gives the user,
  // for one who is not there in $HOME. Not in $XDG_RUNTIME_DIR, which goes with the user's last
  // session while sandboxes stay, and which his jobs of cron(8) do not know: those who look in
  // different places do not see each other.
  std::string directory;
};
inline constexpr const char* kSubordinateDirectory = ".microsandbox-ids";

// Which ids: inside they are 1 and on, 0 is the user himself.
struct SubordinateSpan {
  uint32_t first_uid = 0, first_gid = 0, count = 0;

  bool operator==(const SubordinateSpan&) const = default;
};

struct SubordinateHelpers {
  std::string newuidmap, newgidmap;
};

struct SubordinateIds {
  SubordinateSpan span;
  // No other sandbox of this user has any of these. Else they are those that all of his sandboxes
  // share.
  bool own = false;
  UniqueFd lock{};  // Held as long as they are used; may be invalid where they are shared.
  SubordinateHelpers helpers{};
};

// Of a user with two times kSubordinateChunk ids or more, the first kSubordinateChunk are shared
// and each other such part is one sandbox's own, as long as any is free. Where there is no place
// for the locks that tell, such a user gets none. Errors say what is missing and what to do.
inline constexpr uint32_t kSubordinateChunk = 65'536;
Result<SubordinateIds> ClaimSubordinateIds(const SubordinateSource& source = {});

// Ids for files on disk, which all sandboxes of the user share: the first part, without any lock.
// kNotFound as above, and for a user who has no whole part.
Result<SubordinateIds> FindSharedIds(const SubordinateSource& source = {});
// These and no others, shared. Whether they are the user's, the helpers will say.
Result<SubordinateIds> ShareSubordinateIds(const SubordinateSpan& span,
                                           const SubordinateSource& source = {});

// Of the user namespace of our child `pid`: `own_uid` and `own_gid` of ours are 0, the others 1 and
// on. Groups can be set there afterwards.
Result<void> MapSubordinateIds(int pid, uint32_t own_uid, uint32_t own_gid,
                               const SubordinateIds& ids);

}  // namespace msb::jail
