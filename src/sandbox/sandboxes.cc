// SPDX-License-Identifier: Apache-2.0
// Finding, listing, connecting to and removing sandboxes: readers of records.

#include "sandbox/sandboxes.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "sandbox/cgroup_name.h"
#include "sandbox/record.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

constexpr size_t kShortestPrefix = 4;
constexpr auto kLeavePatience = std::chrono::seconds(5);

Result<std::optional<UniqueFd>> OpenSandboxes(const Home& home) {
  auto dir = sys::OpenAt(home.dir(), kSandboxesDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (dir) return std::optional(std::move(*dir));
  if (dir.error().sys_errno() == ENOENT) return std::optional<UniqueFd>();
  return std::move(dir).error();
}

RecordInfo ToInfo(StoredRecord stored) {
  RecordState state = stored.state.value_or(RecordState{});
  if (!stored.alive && state.state != State::kEnded) {
    state.state = State::kEnded;
    state.outcome = Outcome{.kind = OutcomeKind::kSupervisorDied,
                            .detail = "the supervisor died, and the machine with it"};
  }
  RecordInfo info;
  info.json = RecordJson(stored.id, stored.spec, stored.spec_json, state);
  info.id = stored.id;
  info.name = stored.spec.name;
  info.image = stored.spec.image;
  info.cgroup = stored.spec.cgroup;
  info.cgroups = state.cgroups;
  info.state = state.state;
  info.isolation = stored.spec.isolation;
  info.created_unix_ns = state.created_unix_ns;
  info.outcome = state.outcome;
  info.command = CommandText(stored.spec);
  info.promised = {state.walls, state.supervisor_walls, state.limits, state.machine_uid,
                   stored.spec.cpus};
  return info;
}

Result<std::vector<std::string>> ListIds(BorrowedFd sandboxes) {
  auto names = TRY(sys::ListDirectory(sandboxes));
  std::erase_if(names, [](const std::string& name) { return !IsRecordName(name); });
  return names;
}

Result<std::optional<RecordInfo>> FindById(BorrowedFd sandboxes, const std::string& id) {
  auto stored = TRY(ReadRecord(sandboxes, id));
  if (!stored) return std::optional<RecordInfo>();
  return std::optional(ToInfo(std::move(*stored)));
}

Error NotFound(const Home& home, std::string_view asked) {
  std::vector<std::string> known;
  if (auto all = ListSandboxes(home))
    for (const RecordInfo& info : *all) known.push_back(info.name.empty() ? info.id : info.name);
  Error error(Code::kNotFound, Cat("no sandbox \"", Escape(asked, 64), "\""));
  auto near = Suggest(asked, known);
  return std::move(error).Remedy(near ? Cat("did you mean ", *near, "? (msb ps -a)")
                                      : std::string("see: msb ps -a"));
}

Result<std::optional<RecordInfo>> FindByPrefix(BorrowedFd sandboxes, std::string_view prefix) {
  if (prefix.size() < kShortestPrefix) return std::optional<RecordInfo>();
  std::optional<std::string> match;
  for (const std::string& id : TRY(ListIds(sandboxes))) {
    if (!id.starts_with(prefix)) continue;
    if (match)
      return Error(Code::kInvalidArgument,
                   Cat("\"", prefix, "\" begins more than one id: ", *match, ", ", id))
          .Remedy("give more of the id");
    match = id;
  }
  if (!match) return std::optional<RecordInfo>();
  return FindById(sandboxes, *match);
}

}  // namespace

Result<std::vector<RecordInfo>> ListSandboxes(const Home& home) {
  std::vector<RecordInfo> all;
  auto sandboxes = TRY(OpenSandboxes(home));
  if (!sandboxes) return all;
  for (const std::string& id : TRY(ListIds(*sandboxes))) {
    auto info = FindById(*sandboxes, id);
    // One record that cannot be read does not hide the others.
    if (!info) LOG(kWarn, "unreadable record", {"id", id}, {"why", info.error().message()});
    if (info && *info) all.push_back(std::move(**info));
  }
  std::sort(all.begin(), all.end(), [](const RecordInfo& a, const RecordInfo& b) {
    return std::tie(a.created_unix_ns, a.id) < std::tie(b.created_unix_ns, b.id);
  });
  return all;
}

Result<RecordInfo> FindSandbox(const Home& home, std::string_view name_or_id) {
  auto sandboxes = TRY(OpenSandboxes(home));
  std::string asked(name_or_id);
  // Neither names nor ids have these; they must not become paths.
  bool plain = !asked.empty() && asked.find_first_of("./") == std::string::npos;
  if (!sandboxes || !plain) return NotFound(home, name_or_id);
  auto link = sys::ReadLinkAt(*sandboxes, Cat(kNamesDir, "/", asked));
  if (link && IsRecordName(*link) && link->find('/') == std::string::npos)
    if (auto info = TRY(FindById(*sandboxes, *link))) return std::move(*info);
  if (auto info = TRY(FindById(*sandboxes, asked))) return std::move(*info);
  if (auto info = TRY(FindByPrefix(*sandboxes, asked))) return std::move(*info);
  return NotFound(home, name_or_id);
}

Result<UniqueFd> Connect(const Home& home, const RecordInfo& record) {
  auto ended = [&] {
    return Error(Code::kFailedPrecondition,
                 Cat("sandbox ", record.name.empty() ? record.id : record.name, " has ended"))
        .Remedy(Cat("see: msb inspect ", record.id));
  };
  if (record.state == State::kEnded) return ended();
  auto sandboxes = TRY(OpenSandboxes(home));
  if (!sandboxes) return ended();
  auto dir = sys::OpenAt(*sandboxes, record.id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return ended();
  auto socket = sys::ConnectAt(*dir, kControlSocket);
  if (socket) return socket;
  int error = socket.error().sys_errno();
  if (error == ECONNREFUSED) return ended();
  if (error == ENOENT && !TRY(IsAlive(*sandboxes, record.id))) return ended();
  if (error == ENOENT)
    return Error(Code::kUnavailable, Cat("sandbox ", record.id, " is still starting"))
        .Remedy("try again in a moment");
  return socket;
}

namespace {

// A supervisor that has written the last state lets go of its lock within a second or two.
bool LeavesSoon(BorrowedFd sandboxes, const std::string& id) {
  auto stored = ReadRecord(sandboxes, id);
  if (!stored || !*stored) return false;
  const auto& state = (*stored)->state;
  if (!state || state->state != State::kEnded) return false;
  auto lock = sys::OpenAt(sandboxes, Cat(id, "/", kLockFile), O_RDONLY | O_NOFOLLOW);
  return lock && sys::FileLock::WaitShared(std::move(*lock), Deadline::After(kLeavePatience));
}

}  // namespace

Result<void> RemoveSandbox(const Home& home, const RecordInfo& record) {
  auto sandboxes = TRY(OpenSandboxes(home));
  if (!sandboxes) return {};
  auto gate = TRY(PassGate(*sandboxes, GateMode::kExclusive));
  std::string shown = record.name.empty() ? record.id : record.name;
  if (TRY(IsAlive(*sandboxes, record.id)) && !LeavesSoon(*sandboxes, record.id))
    return Error(Code::kFailedPrecondition, Cat("sandbox ", shown, " is running"))
        .Remedy(Cat("msb stop ", shown));
  if (!record.name.empty()) ReleaseName(*sandboxes, record.name, record.id);
  (void)TRY(RemoveCgroupOf(home.dir(), {record.cgroup, record.cgroups}, record.id));
  return sys::RemoveTreeAt(*sandboxes, record.id);
}

Result<UniqueFd> OpenRecord(const Home& home, const RecordInfo& record) {
  return sys::OpenAt(home.dir(), Cat(kSandboxesDir, "/", record.id),
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

}  // namespace msb::sandbox
