// SPDX-License-Identifier: Apache-2.0
// Reads the files, claims a part by a lock on one byte, runs the helpers.

#include "jail/subordinate_ids.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "base/bytes.h"
#include "base/text.h"
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

Result<UniqueFd> OpenLocks(const std::string& given) {
  std::string directory = given;
  if (auto runtime = sys::GetEnv("XDG_RUNTIME_DIR"); directory.empty() && runtime)
    directory = Cat(*runtime, "/microsandbox");
  if (auto home = sys::GetEnv("HOME"); directory.empty() && home)
    directory = Cat(*home, "/.microsandbox-ids");
  if (!directory.starts_with('/')) return Error(Code::kNotFound, "no directory for locks");
  UniqueFd dir = TRY(sys::OpenPrivateDirectory(directory));
  return sys::OpenAt(dir, "subordinate-ids", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
}

// The number of a part from 1 on that nobody else has; 0, the shared one, when there is none, or
// nowhere to lock: what a user's sandboxes share is no way from one into another.
uint32_t ClaimChunk(const std::string& directory, size_t count, UniqueFd& held) {
  if (count < 2) return 0;
  auto file = OpenLocks(directory);
  if (!file) return 0;
  for (uint32_t number = 1; number < count; number++) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = number;
    lock.l_len = 1;
    if (::fcntl(file->get(), F_OFD_SETLK, &lock) == -1) continue;
    held = *std::move(file);
    return number;
  }
  return 0;
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
    ranges.push_back({*first, *count});
  }
  return ranges;
}

std::string NameOfUser(std::string_view passwd, uint32_t id) {
  while (!passwd.empty()) {
    std::string_view line = passwd.substr(0, passwd.find('\n'));
    passwd.remove_prefix(std::min(passwd.size(), line.size() + 1));
    size_t a = line.find(':');
    size_t b = a == std::string_view::npos ? a : line.find(':', a + 1);
    if (a == 0 || b == std::string_view::npos) continue;
    std::string_view rest = line.substr(b + 1);
    if (ParseNumber<uint32_t>(rest.substr(0, rest.find(':'))) == id)
      return std::string(line.substr(0, a));
  }
  return "";
}

Result<SubordinateIds> ClaimSubordinateIds(const SubordinateSource& source) {
  uint32_t id = ::getuid();
  auto passwd = TRY(sys::FindFileAt(sys::Cwd(), source.passwd, kFileLimit));
  std::string name = NameOfUser(passwd.value_or(""), id);
  auto uids = TRY(ReadRanges(source.subuid, name, id));
  auto gids = TRY(ReadRanges(source.subgid, name, id));
  SubordinateIds ids{};
  ids.newuidmap = TRY(FindHelper(source, "newuidmap"));
  ids.newgidmap = TRY(FindHelper(source, "newgidmap"));
  // They have their rights by setuid or capabilities of the file, which this forbids.
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    return Missing("newuidmap has no rights under no_new_privs", "run it where that is not set");
  auto uid_chunks = Chunks(uids), gid_chunks = Chunks(gids);
  size_t chunks = std::min(uid_chunks.size(), gid_chunks.size());
  if (chunks == 0) {
    SubordinateRange uid = Largest(uids), gid = Largest(gids);
    ids.first_uid = uid.first;
    ids.first_gid = gid.first;
    ids.count = std::min({uid.count, gid.count, kSubordinateChunk - 1});
    return ids;
  }
  uint32_t number = ClaimChunk(source.directory, chunks, ids.lock);
  ids.first_uid = uid_chunks[number];
  ids.first_gid = gid_chunks[number];
  ids.count = kSubordinateChunk - 1;  // 0 inside is the user himself.
  return ids;
}

Result<void> MapSubordinateIds(int pid, uint32_t own_uid, uint32_t own_gid,
                               const SubordinateIds& ids) {
  auto uids = TRY(StartHelper(ids.newuidmap, pid, own_uid, ids.first_uid, ids.count));
  auto gids = TRY(StartHelper(ids.newgidmap, pid, own_gid, ids.first_gid, ids.count));
  TRY(EndHelper(std::move(uids), ids.newuidmap));
  return EndHelper(std::move(gids), ids.newgidmap);
}

}  // namespace msb::jail
