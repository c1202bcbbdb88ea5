// SPDX-License-Identifier: Apache-2.0
// Reads the files, claims a part by locks on its ids, runs the helpers.

#include "jail/subordinate_ids.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "base/bytes.h"
#include "base/text.h"
#include "jail/subordinate_locks.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::jail {
namespace {

constexpr size_t kFileLimit = 1 << 20;
constexpr uint64_t kIdsOfKernel = UINT32_MAX;  // The last number is none.
// They read a few files; on a machine that does much else, that may take its time.
constexpr auto kHelperTimeout = std::chrono::seconds(30);
constexpr const char* kPackage = "install the package uidmap";

Error Missing(std::string_view what, std::string_view remedy) {
  return Error(Code::kNotFound, std::string(what)).Remedy(std::string(remedy));
}

Result<std::vector<SubordinateRange>> ReadRanges(const std::string& path, std::string_view name,
                                                 uint32_t id) {
  auto text = TRY(sys::FindFileAt(sys::Cwd(), path, kFileLimit));
  auto ranges = ParseSubordinateIds(text.value_or(""), name, id);
  if (ranges.empty())
    return Missing(Cat(path, " gives ", name.empty() ? Cat("user ", id) : Escape(name), " no ids"),
                   Cat("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ",
                       name.empty() ? "NAME" : Escape(name), ", with ids that nobody else has"));
  return ranges;
}

Result<std::string> FindHelper(const SubordinateSource& source, std::string_view name) {
  for (const std::string& directory : source.helpers) {
    std::string path = Cat(directory, "/", name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Missing(Cat(name, " is missing"), kPackage);
}

// The first id of each whole part.
std::vector<uint32_t> Chunks(const std::vector<SubordinateRange>& ranges) {
  std::vector<uint32_t> chunks;
  for (const SubordinateRange& range : ranges)
    for (uint32_t i = 0; i < range.count / kSubordinateChunk; i++)
      chunks.push_back(range.first + i * kSubordinateChunk);
  return chunks;
}

SubordinateRange Largest(const std::vector<SubordinateRange>& ranges) {
  return *std::max_element(ranges.begin(), ranges.end(),
                           [](auto& a, auto& b) { return a.count < b.count; });
}

bool Overlap(const SubordinateRange& a, const SubordinateRange& b) {
  return a.first < uint64_t{b.first} + b.count && b.first < uint64_t{a.first} + a.count;
}

SubordinateRange Together(const SubordinateRange& a, const SubordinateRange& b) {
  uint32_t first = std::min(a.first, b.first);
  return {first, std::max(a.first + a.count, b.first + b.count) - first};
}

// Adds it to ranges that do not overlap, and they still do not.
void Merge(SubordinateRange range, std::vector<SubordinateRange>& ranges) {
  size_t at = ranges.size();
  for (size_t i = ranges.size(); i-- > 0;) {
    if (!Overlap(ranges[i], range)) continue;
    range = Together(ranges[i], range);
    ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(i));
    at = i;
  }
  ranges.insert(ranges.begin() + static_cast<std::ptrdiff_t>(at), range);
}

// The colon-separated field of a line, from 0 on.
std::string_view Field(std::string_view line, int number) {
  for (; number > 0; number--) {
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) return "";
    line.remove_prefix(colon + 1);
  }
  return line.substr(0, line.find(':'));
}

// What is given to the user, cut into whole parts, and what maps it.
struct Given {
  std::vector<SubordinateRange> uids, gids;
  std::vector<uint32_t> uid_chunks, gid_chunks;
  std::string lock_directory;
  SubordinateHelpers helpers;

  size_t chunks() const { return std::min(uid_chunks.size(), gid_chunks.size()); }
};

Result<SubordinateHelpers> FindHelpers(const SubordinateSource& source) {
  SubordinateHelpers helpers;
  helpers.newuidmap = TRY(FindHelper(source, "newuidmap"));
  helpers.newgidmap = TRY(FindHelper(source, "newgidmap"));
  // They have their rights by setuid or capabilities of the file, which this forbids.
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    return Missing("newuidmap has no rights under no_new_privs", "run it where that is not set");
  return helpers;
}

std::string LockDirectory(const SubordinateSource& source, const std::optional<PasswdUser>& user) {
  if (!source.directory.empty()) return source.directory;
  std::string home = user ? user->home : sys::GetEnv("HOME").value_or("");
  return home.starts_with('/') ? Cat(home, "/", kSubordinateDirectory) : "";
}

Result<std::optional<PasswdUser>> FindUser(const SubordinateSource& source) {
  auto passwd = TRY(sys::FindFileAt(sys::Cwd(), source.passwd, kFileLimit));
  return FindPasswdUser(passwd.value_or(""), ::getuid());
}

Result<Given> FindGiven(const SubordinateSource& source) {
  auto user = TRY(FindUser(source));
  std::string name = user ? user->name : "";
  Given given;
  given.uids = TRY(ReadRanges(source.subuid, name, ::getuid()));
  given.gids = TRY(ReadRanges(source.subgid, name, ::getuid()));
  given.helpers = TRY(FindHelpers(source));
  given.uid_chunks = Chunks(given.uids);
  given.gid_chunks = Chunks(given.gids);
  given.lock_directory = LockDirectory(source, user);
  return given;
}

// The first of the parts behind the shared one that is free; 0, which is no id of a part: none.
Result<uint32_t> TakeChunk(SubordinateLocks& locks, SubordinateLocks::Kind kind,
                           std::span<const uint32_t> chunks) {
  for (uint32_t first : chunks.subspan(1))
    if (TRY(locks.Take(kind, first, kSubordinateChunk, SubordinateLocks::Use::kOwn))) return first;
  return 0;
}

Result<std::optional<SubordinateSpan>> TakeOwn(SubordinateLocks& locks, const Given& given) {
  uint32_t uid = TRY(TakeChunk(locks, SubordinateLocks::Kind::kUsers, given.uid_chunks));
  uint32_t gid =
      uid == 0 ? 0 : TRY(TakeChunk(locks, SubordinateLocks::Kind::kGroups, given.gid_chunks));
  if (gid != 0) return std::optional(SubordinateSpan{uid, gid, kSubordinateChunk - 1});
  TRY(locks.LetGo());
  return std::optional<SubordinateSpan>();
}

Result<void> TakeShared(SubordinateLocks& locks, const SubordinateSpan& span) {
  auto take = [&](SubordinateLocks::Kind kind, uint32_t first) -> Result<void> {
    if (TRY(locks.Take(kind, first, span.count, SubordinateLocks::Use::kShared))) return {};
    return Error(Code::kUnavailable, Cat("some ids from ", first, " to ", first + span.count - 1,
                                         " are another sandbox's own"))
        .Remedy("stop the sandboxes that were started before these ids were given away anew");
  };
  TRY(take(SubordinateLocks::Kind::kUsers, span.first_uid));
  return take(SubordinateLocks::Kind::kGroups, span.first_gid);
}

SubordinateSpan SharedSpan(const Given& given) {
  if (given.chunks() > 0)
    return {given.uid_chunks[0], given.gid_chunks[0], kSubordinateChunk - 1};  // And the user's.
  SubordinateRange uid = Largest(given.uids), gid = Largest(given.gids);
  return {uid.first, gid.first, std::min({uid.count, gid.count, kSubordinateChunk - 1})};
}

// Without locks there is only what is shared anyway.
Result<std::optional<SubordinateLocks>> OpenLocks(const Given& given) {
  bool several = given.chunks() >= 2;
  auto locks =
      SubordinateLocks::Open(given.lock_directory, several ? SubordinateLocks::Missing::kMake
                                                           : SubordinateLocks::Missing::kFail);
  if (locks) return std::optional(*std::move(locks));
  if (!several) return std::optional<SubordinateLocks>();
  bool foreign = locks.error().code() == Code::kFailedPrecondition;
  return Missing(Cat("no place to note which sandbox has which ids: ", locks.error().message()),
                 foreign ? Cat("remove ", given.lock_directory, ": it is made anew")
                         : "give the user a home directory that he owns and can write");
}

struct Helper {
  sys::Child child;
  UniqueFd said;
};

Result<Helper> StartHelper(const std::string& program, int pid, uint32_t own, uint32_t first,
                           uint32_t count) {
  UniqueFd null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  sys::Pipe said = TRY(sys::MakePipe(O_NONBLOCK));
  auto child = TRY(sys::Spawn({
      .argv = {program, Cat(pid), "0", Cat(own), "1", "1", Cat(first), Cat(count)},
      .program = {},
      .env = {"LC_ALL=C"},
      .workdir = {},
      .fds = {{null.get(), 0}, {null.get(), 1}, {said.write.get(), 2}},
  }));
  return Helper{std::move(child), std::move(said.read)};
}

Result<void> EndHelper(Helper helper, const std::string& program) {
  auto ended = TRY(helper.child.Wait(Deadline::After(kHelperTimeout)).Context(program));
  if (ended == sys::ExitStatus{}) return {};
  std::byte buffer[512];
  auto got = sys::ReadSome(helper.said, buffer);
  std::string_view text = AsText(std::span(buffer).first(got ? *got : 0));
  return Error(Code::kPermissionDenied,
               Cat(program, ": ", Escape(text.substr(0, text.find('\n')), 256)));
}

}  // namespace

std::vector<SubordinateRange> ParseSubordinateIds(std::string_view text, std::string_view name,
                                                  uint32_t id) {
  std::vector<SubordinateRange> ranges;
  while (!text.empty() && ranges.size() < kMostSubordinateRanges) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    size_t a = line.find(':'), b = line.rfind(':');
    if (a == b) continue;
    std::string_view who = line.substr(0, a);
    if (who.empty() || (who != name && ParseNumber<uint32_t>(who) != id)) continue;
    auto first = ParseNumber<uint32_t>(line.substr(a + 1, b - a - 1));
    auto count = ParseNumber<uint32_t>(line.substr(b + 1));
    if (!first || !count || *first == 0 || *count == 0) continue;
    if (uint64_t{*first} + *count > kIdsOfKernel) continue;
    Merge({*first, *count}, ranges);
  }
  return ranges;
}

std::optional<PasswdUser> FindPasswdUser(std::string_view passwd, uint32_t id) {
  while (!passwd.empty()) {
    std::string_view line = passwd.substr(0, passwd.find('\n'));
    passwd.remove_prefix(std::min(passwd.size(), line.size() + 1));
    std::string_view name = Field(line, 0);
    if (!name.empty() && ParseNumber<uint32_t>(Field(line, 2)) == id)
      return PasswdUser{std::string(name), std::string(Field(line, 5))};
  }
  return std::nullopt;
}

Result<SubordinateIds> ClaimSubordinateIds(const SubordinateSource& source) {
  Given given = TRY(FindGiven(source));
  SubordinateIds ids{.span = SharedSpan(given), .helpers = given.helpers};
  auto locks = TRY(OpenLocks(given));
  if (!locks) return ids;
  auto own = given.chunks() < 2 ? std::nullopt : TRY(TakeOwn(*locks, given));
  ids.own = own.has_value();
  if (own)
    ids.span = *own;
  else
    TRY(TakeShared(*locks, ids.span));
  ids.lock = std::move(*locks).Release();
  return ids;
}

Result<SubordinateIds> FindSharedIds(const SubordinateSource& source) {
  Given given = TRY(FindGiven(source));
  if (given.chunks() == 0)
    return Missing(Cat(source.subuid, " and ", source.subgid, " give the user fewer than ",
                       kSubordinateChunk, " ids in one piece"),
                   "give him more: usermod(8), --add-subuids and --add-subgids");
  return SubordinateIds{.span = SharedSpan(given), .helpers = given.helpers};
}

Result<SubordinateIds> ShareSubordinateIds(const SubordinateSpan& span,
                                           const SubordinateSource& source) {
  SubordinateIds ids{.span = span};
  ids.helpers = TRY(FindHelpers(source));
  auto directory = LockDirectory(source, TRY(FindUser(source)));
  auto locks = SubordinateLocks::Open(directory, SubordinateLocks::Missing::kFail);
  // Who never had ids for one sandbox alone has no file of locks.
  if (!locks) return ids;
  TRY(TakeShared(*locks, span));
  ids.lock = std::move(*locks).Release();
  return ids;
}

Result<void> MapSubordinateIds(int pid, uint32_t own_uid, uint32_t own_gid,
                               const SubordinateIds& ids) {
  auto uids =
      TRY(StartHelper(ids.helpers.newuidmap, pid, own_uid, ids.span.first_uid, ids.span.count));
  auto gids =
      TRY(StartHelper(ids.helpers.newgidmap, pid, own_gid, ids.span.first_gid, ids.span.count));
  TRY(EndHelper(std::move(uids), ids.helpers.newuidmap));
  return EndHelper(std::move(gids), ids.helpers.newgidmap);
}

}  // namespace msb::jail
