// SPDX-License-Identifier: Apache-2.0
// The sandbox from outside: works out the plan, clones the init, maps ids, hears how it went.

#include "jail/box/box.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "jail/box/prepare.h"
#include "jail/box/steps.h"
#include "jail/box/trees.h"
#include "jail/id_maps.h"
#include "jail/namespace_remedy.h"
#include "jail/start_init.h"
#include "jail/subordinate_ids.h"
#include "sys/file.h"
#include "sys/landlock.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace msb::box {
namespace {

struct Ids {
  jail::IdMaps maps;
  std::optional<jail::SubordinateIds> more;  // Instead of the maps: by those who may.
};

constexpr uint32_t kTerminalGroup = 5;  // As Prepare() has it.

bool IsRoot() { return ::geteuid() == 0; }

// One id, whatever else there is: why the subordinate ones cannot be mapped; empty: they can.
using OneIdBecause = std::string;

std::optional<jail::SubordinateIds> FindMoreIds(const Spec& spec, OneIdBecause because,
                                                Facts& facts) {
  if (!spec.subordinate_ids) return std::nullopt;
  if (because.empty()) {
    auto more = jail::ClaimSubordinateIds();
    if (more) return std::move(*more);
    because = more.error().message();
    facts.more_ids_remedy = more.error().remedy();
  }
  facts.one_id_because = std::move(because);
  return std::nullopt;
}

Result<Ids> PlanIds(const Spec& spec, const OneIdBecause& because, Running& running,
                    Prepared& prepared) {
  Ids ids;
  Plan& plan = prepared.plan;
  if (!plan.own_users) {
    if (!IsRoot())
      return Error(Code::kPermissionDenied, "the host's user namespace is for root")
          .Remedy("run it as root, or without --userns host");
    running.facts.ids = "the host's";
    return ids;
  }
  if (IsRoot()) {
    running.range = TRY(jail::ClaimIdRange());
    uint32_t first = running.range->id;
    ids.maps.uid = ids.maps.gid = Cat("0 ", first, ' ', jail::kIdsOfRange, "\n");
    running.facts.ids = Cat(jail::kIdsOfRange, " from ", first);
    plan.slot_lock = running.range->lock.get();
    plan.drop_groups = true;
    return ids;
  }
  if (spec.these_ids)
    ids.more = TRY(jail::ShareSubordinateIds(*spec.these_ids));
  else
    ids.more = FindMoreIds(spec, because, running.facts);
  if (ids.more) {
    running.facts.ids = Cat("the user's own id ", ::geteuid(), " as 0, and ", ids.more->span.count,
                            " subordinate ones from ", ids.more->span.first_uid, " as 1 on, ",
                            ids.more->own ? "its own" : "shared by the user's sandboxes");
    running.ids_lock = std::move(ids.more->lock);
    plan.slot_lock = running.ids_lock.get();
    plan.drop_groups = true;
    if (ids.more->span.count < kTerminalGroup) plan.terminal_group = "0";
  } else {
    ids.maps = jail::MapOwnIds(spec.uid, spec.gid);
    running.facts.ids = Cat("the user's own id ", ::geteuid(), " as ", spec.uid);
    // Of terminals, where 5 is not mapped.
    prepared.terminal_group = Cat(spec.gid);
    plan.terminal_group = prepared.terminal_group.c_str();
  }
  return ids;
}

Result<void> WriteMaps(int pid, const Ids& ids) {
  if (ids.more) return jail::MapSubordinateIds(pid, ::geteuid(), ::getegid(), *ids.more);
  return jail::WriteIdMaps(pid, ids.maps)
      .Remedy(IsRoot() ? "these ids are not there to give, as in a container that has few: run it "
                         "outside, or in one that has them"
                       : "");
}

Result<void> ConnectNetwork(const Spec& spec, int pid) {
  if (!spec.network) return {};
  UniqueFd network = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", pid, "/ns/net"), O_RDONLY));
  UniqueFd users = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", pid, "/ns/user"), O_RDONLY));
  return spec.network(network, users);
}

Result<void> Send(BorrowedFd leash, char what, std::span<const UniqueFd> fds) {
  std::vector<BorrowedFd> borrowed(fds.begin(), fds.end());
  for (std::span<const BorrowedFd> rest = borrowed; !rest.empty();) {
    auto part = rest.first(std::min(rest.size(), kFdsAtOnce));
    auto byte = static_cast<std::byte>(what);
    TRY(sys::SendWithFds(leash, std::span(&byte, 1), part));
    rest = rest.subspan(part.size());
  }
  return {};
}

Result<void> Go(BorrowedFd leash, const Prepared& prepared) {
  TRY(Send(leash, kDoors, prepared.late_doors.fds));
  TRY(Send(leash, kTrees, prepared.trees));
  std::byte go{kGo};
  TRY(sys::SendWithFds(leash, std::span(&go, 1), {}));
  return {};
}

// What the step was done to: " /etc/hosts".
std::string Operand(const jail::StepReport& said, const Spec& spec, const Prepared& prepared) {
  auto step = static_cast<Step>(said.step);
  bool bind = step == Step::kBindTarget || step == Step::kBindSource || step == Step::kBindAttach;
  if (bind && said.index < prepared.binds.size())
    return Cat(' ', prepared.binds[said.index].source, " at /", prepared.binds[said.index].target);
  if (step == Step::kMemory && said.index < spec.memories.size())
    return Cat(' ', spec.memories[said.index].target);
  if (step == Step::kEtc && said.index < prepared.files.size())
    return Cat(" /", prepared.files[said.index].path);
  if (step == Step::kRootTree || step == Step::kOverlay) return Cat(' ', spec.root_directory);
  if (step == Step::kDirectory) return Cat(' ', spec.directory);
  return "";
}

// `helped`: how the parent's part went. What the init says of an earlier step, or one that was its
// own, explains more.
Result<void> ExpectStarted(BorrowedFd report, Result<void> helped, const Spec& spec,
                           const Prepared& prepared, std::optional<Error>& exec_error) {
  auto said = TRY(jail::HearReport(report, Step::kCount));
  if (!said || said->step == jail::StepNumber(Step::kWaitForParent).value) TRY(std::move(helped));
  if (!said) return {};
  auto step = static_cast<Step>(said->step);
  if (step == Step::kExec) {
    exec_error = ExecError(spec, said->error);
    return {};
  }
  std::string what = Cat(StepName(step), Operand(*said, spec, prepared));
  return Error::Errno(what, said->error)
      .Remedy(StepRemedy(step, said->error))
      .Remedy(step == Step::kNetwork ? jail::NamespaceRemedy(said->error, prepared.plan.own_users)
                                     : "")
      .Remedy(prepared.plan.own_users ? jail::LabelRemedy(said->error) : "");
}

Result<UniqueFd> Take(BorrowedFd leash, char what) {
  std::byte said;
  auto received = TRY(sys::ReceiveWithFds(leash, std::span(&said, 1)));
  if (received.bytes != 1 || said != static_cast<std::byte>(what) || received.fds.size() != 1)
    return Error(Code::kInternal, "the sandbox's init sent no descriptor");
  return std::move(received.fds[0]);
}

void NameWalls(const Spec& spec, const Plan& plan, Facts& facts) {
  if (plan.own_users) facts.walls.emplace_back("user namespace");
  if (plan.own_network) facts.walls.emplace_back("network namespace");
  for (const char* wall : {"pid namespace", "mount namespace", "ipc namespace", "uts namespace",
                           "cgroup namespace", "time namespace", "no_new_privs", "landlock"})
    facts.walls.emplace_back(wall);
  if (spec.on_refusal != OnRefusal::kLearn) facts.walls.emplace_back("seccomp");
}

void NameLimits(const sys::Cgroup* cgroup, Facts& facts) {
  auto name = [&](const char* what, bool set) {
    facts.limits.push_back(Cat(what, set ? ": cgroup" : ": none"));
  };
  name("memory", cgroup != nullptr && cgroup->LimitsMemory());
  name("cpu", cgroup != nullptr && cgroup->LimitsCpu());
  name("pids", cgroup != nullptr && cgroup->LimitsPids());
  name("io", cgroup != nullptr && cgroup->LimitsIo());
}

// `because`: as FindMoreIds() takes it; set when it is those ids that failed, and all was undone.
Result<Running> StartWith(const Spec& spec, std::optional<Step> fail_at, OneIdBecause& because) {
  Running running;
  Prepared prepared;
  Plan& plan = prepared.plan;
  TRY(Prepare(spec, prepared));
  Ids ids = TRY(PlanIds(spec, because, running, prepared));
  bool maps_trees = IsRoot() && plan.own_users;
  if (maps_trees) TRY(OpenTrees(spec, prepared));

  running.facts.landlock_abi = plan.landlock_abi = TRY(sys::LandlockAbi());
  auto channels = TRY(jail::InitChannels::Create());
  auto leash = TRY(sys::MakeSocketPair());
  channels.FillPlan(plan);
  plan.leash = leash.second.get();
  plan.fail_at = fail_at ? static_cast<int>(*fail_at) : -1;

  uint64_t network = plan.own_network && !plan.makes_network ? CLONE_NEWNET : 0,
           users = plan.own_users ? CLONE_NEWUSER : 0;
  jail::ClonedInit init = TRY(jail::CloneInit(network | users, spec.cgroup));
  if (init.pid == 0) RunInit(plan);
  sys::Child child(std::move(init.pidfd));  // Killed and reaped on every error below.
  channels.CloseInitsEnds();
  leash.second.Reset();
  const sys::Cgroup* cgroup = spec.cgroup;
  auto help = [&]() -> Result<void> {
    if (plan.own_users) {
      auto written = WriteMaps(init.pid, ids);
      if (!written && ids.more && !spec.these_ids) because = written.error().message();
      TRY(std::move(written));
    }
    if (maps_trees) TRY(MapTrees(spec, init.pid, prepared, running.facts.unmapped));
    TRY(ConnectNetwork(spec, init.pid));
    if (spec.make_cgroup) {
      cgroup = TRY(spec.make_cgroup());
      prepared.late_doors = TRY(jail::CgroupDoors::Open(cgroup));
    }
    return Go(leash.first, prepared);
  };
  auto helped = help();
  if (!helped) leash.first.Reset();  // An init that waits for us ends by that, and says so.
  TRY(ExpectStarted(channels.report.read, std::move(helped), spec, prepared, running.exec_error));
  running.has_terminal = plan.terminal;
  if (plan.terminal) running.terminal = TRY(Take(leash.first, kTerminal));
  if (plan.listen) running.listener = TRY(Take(leash.first, kListener));
  running.command_is_init = plan.command_is_init;
  running.pidfd = std::move(child).Detach();
  running.status = std::move(channels.status.read);
  running.leash = std::move(leash.first);
  NameWalls(spec, plan, running.facts);
  NameLimits(cgroup, running.facts);
  return running;
}

}  // namespace

Result<Running> Start(const Spec& spec, std::optional<Step> fail_at) {
  if (spec.argv.empty()) return Error(Code::kInvalidArgument, "no command");
  if (spec.filter == nullptr) return Error(Code::kInvalidArgument, "no seccomp filter");
  OneIdBecause because;
  auto running = StartWith(spec, fail_at, because);
  // The helpers may be forbidden what they are made for, as in a container of one id. Nothing of
  // the sandbox has run.
  if (!running && !because.empty()) return StartWith(spec, fail_at, because);
  return running;
}

Result<void> Signal(const Running& running, int signal) {
  auto byte = static_cast<std::byte>(signal);
  // By sendmsg(), so that an init that has just ended is an error and no SIGPIPE.
  TRY(sys::SendWithFds(running.leash, std::span(&byte, 1), {}));
  return {};
}

void Kill(Running& running) { jail::KillInit(running.pidfd, running.leash); }

Result<Exit> Reap(Running& running) {
  if (!running.command_is_init) return jail::ReapInit(running.pidfd, running.status);
  auto command = TRY(sys::Reap(running.pidfd, Deadline::Never()));
  running.pidfd.Reset();
  return Exit{command.signaled ? Exit::How::kSignaled : Exit::How::kExited, command.code};
}

}  // namespace msb::box
