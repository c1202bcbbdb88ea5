// SPDX-License-Identifier: Apache-2.0
// The jail from outside: works out the plan, clones the init, hears how it went.

#include "jail/jail.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <span>

#include "base/text.h"
#include "jail/elf_needs.h"
#include "jail/jail_plan.h"
#include "jail/jail_steps.h"
#include "jail/policies.h"
#include "sys/file.h"
#include "sys/landlock.h"
#include "sys/process.h"

namespace msb::jail {
namespace {

// Owns what a JailPlan points at.
struct PlanStorage {
  std::vector<std::string> sources, targets;
  std::vector<PlannedBind> binds;
  std::vector<PlannedFd> fds;
  std::vector<ResourceLimit> limits;
  std::vector<char*> argv;
  CgroupDoors doors;
  IdMaps id_maps;
  std::string program;
  JailPlan plan{};
};

Result<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return Error::Errno(Cat("find ", path));
  return std::string(resolved);
}

Result<void> PlanBinds(const JailSpec& spec, PlanStorage& storage) {
  std::vector<JailBind> binds = TRY(FilesOfProgram(spec.program, spec.plugins));
  binds.insert(binds.end(), spec.binds.begin(), spec.binds.end());
  binds.push_back({.source = spec.program, .executable = true});
  // Pointers into the strings are taken below: no growth in between.
  storage.sources.reserve(binds.size());
  storage.targets.reserve(binds.size());
  for (const JailBind& bind : binds) {
    const std::string& target = bind.target.empty() ? bind.source : bind.target;
    if (bind.source.empty() || bind.source[0] != '/' || target[0] != '/' || target.size() < 2)
      return Error(Code::kInvalidArgument, Cat("bind ", bind.source, ": path is not absolute"));
    const std::string& source = storage.sources.emplace_back(TRY(RealPath(bind.source)));
    struct stat info;
    if (::stat(source.c_str(), &info) == -1) return Error::Errno(Cat("stat ", source));
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
      return Error(Code::kInvalidArgument, Cat(source, " is neither a file nor a directory"));
    // Root's jails run under ids that own nothing: what "others" may not read, they cannot.
    mode_t needed = S_ISDIR(info.st_mode) ? 0005 : 0004;
    if (::geteuid() == 0 && (info.st_mode & needed) != needed)
      return Error(Code::kPermissionDenied,
                   Cat(source, " is not readable for others, and the jail's id is one of them"))
          .Remedy(Cat("chmod o+r", S_ISDIR(info.st_mode) ? "x " : " ", source));
    storage.targets.push_back(target.substr(1));
    storage.binds.push_back({.source = source.c_str(),
                             .target = storage.targets.back().c_str(),
                             .directory = S_ISDIR(info.st_mode),
                             .executable = bind.executable});
  }
  storage.program = spec.program.substr(1);
  return {};
}

Result<void> PlanDescriptors(const JailSpec& spec, int devnull, int stderr_fd,
                             PlanStorage& storage) {
  bool given[3] = {};
  for (const JailFd& fd : spec.fds) {
    if (fd.number < 0 || fd.number > kMaxProgramNumber)
      return Error(Code::kInvalidArgument, Cat("descriptor number ", fd.number, " for a jail"));
    for (const PlannedFd& earlier : storage.fds)
      if (earlier.number == fd.number)
        return Error(Code::kInvalidArgument, Cat("descriptor number ", fd.number, " given twice"));
    if (fd.number < 3) given[fd.number] = true;
    storage.fds.push_back({fd.fd, fd.number});
  }
  if (spec.fds.size() > 64) return Error(Code::kInvalidArgument, "too many descriptors for a jail");
  int standard[3] = {devnull, spec.stdout_fd == -1 ? devnull : spec.stdout_fd, stderr_fd};
  for (int number = 0; number < 3; number++)
    if (!given[number]) storage.fds.push_back({standard[number], number});
  return {};
}

void PlanLimits(const JailSpec& spec, PlanStorage& storage, JailFacts& facts) {
  auto add = [&](int resource, rlim_t value) {
    storage.limits.push_back({resource, rlimit{value, value}});
  };
  const JailLimits& limits = spec.limits;
  add(RLIMIT_CORE, 0);
  add(RLIMIT_NOFILE, limits.open_files);
  if (limits.file_size_bytes != 0) add(RLIMIT_FSIZE, limits.file_size_bytes);
  if (spec.cgroup != nullptr && spec.cgroup->LimitsMemory()) {
    facts.limits.push_back("memory: cgroup");
  } else if (limits.memory_bytes != 0) {
    add(RLIMIT_AS, limits.memory_bytes);
    facts.limits.push_back("memory: RLIMIT_AS");
  } else {
    facts.limits.push_back("memory: none");
  }
  // The id, or the user namespace, is this jail's alone, so the count is of its threads.
  add(RLIMIT_NPROC, limits.pids);
  facts.limits.push_back(spec.cgroup != nullptr && spec.cgroup->LimitsPids()
                             ? "pids: cgroup, RLIMIT_NPROC"
                             : "pids: RLIMIT_NPROC");
  facts.limits.push_back(spec.cgroup != nullptr && spec.cgroup->LimitsCpu() ? "cpu: cgroup"
                                                                            : "cpu: none");
}

Result<void> PlanIds(JailedProcess& process, PlanStorage& storage) {
  JailPlan& plan = storage.plan;
  JailFacts& facts = process.facts;
  plan.user_namespace = ::geteuid() != 0;
  plan.slot_lock = -1;
  if (plan.user_namespace) {
    facts.uid = ::geteuid();
    facts.gid = ::getegid();
    storage.id_maps = MapOwnIds(facts.uid, facts.gid);
    facts.ids = "the user's own id in a user namespace of its own";
    facts.walls.push_back("user namespace");
  } else {
    process.slot = TRY(ClaimIdSlot());
    facts.uid = facts.gid = process.slot->id;
    facts.ids = Cat("host-wide slot ", process.slot->number);
    facts.walls.push_back("ids");
    plan.slot_lock = process.slot->lock.get();
  }
  plan.uid = facts.uid;
  plan.gid = facts.gid;
  plan.id_maps = storage.id_maps.Files();
  return {};
}

void FillPlan(const JailSpec& spec, int landlock_abi, PlanStorage& storage) {
  for (const std::string& argument : spec.argv)
    storage.argv.push_back(const_cast<char*>(argument.c_str()));
  storage.argv.push_back(nullptr);
  JailPlan& plan = storage.plan;
  plan.hostname = spec.name.c_str();
  plan.root_options = "1m";
  plan.binds = storage.binds;
  plan.fds = storage.fds;
  plan.limits = storage.limits;
  plan.program = storage.program.c_str();
  plan.argv = storage.argv.data();
  plan.filter = spec.filter->code.data();
  plan.filter_length = spec.filter->length;
  plan.init_filter = kJailInitFilter.code.data();
  plan.init_filter_length = kJailInitFilter.length;
  plan.landlock_abi = landlock_abi;
  plan.cgroup_doors = storage.doors.numbers;
  plan.fail_at = spec.fail_at ? static_cast<int>(*spec.fail_at) : -1;
}

// Nothing when the child executes the program; else what it reported.
Result<void> ExpectStarted(BorrowedFd report, const PlanStorage& storage) {
  auto said = TRY(HearReport(report, JailStep::kCount));
  if (!said) return {};
  auto step = static_cast<JailStep>(said->step);
  std::string what = std::string(StepName(step));
  if (StepNamesBind(step) && said->index < storage.binds.size())
    what += Cat(' ', storage.binds[said->index].source);
  if (step == JailStep::kExec || step == JailStep::kOpenProgram) what += Cat(" /", storage.program);
  return Error::Errno(what, said->error).Remedy(StepRemedy(step, said->error));
}

void NameWalls(JailFacts& facts) {
  for (const char* wall : {"mount namespace", "pid namespace", "network namespace", "ipc namespace",
                           "uts namespace", "cgroup namespace", "read-only root", "no capabilities",
                           "no_new_privs", "landlock", "seccomp", "no descriptors but its own"})
    facts.walls.emplace_back(wall);
}

Result<JailedProcess> Start(const JailSpec& spec) {
  JailedProcess process;
  PlanStorage storage;
  if (spec.program.size() < 2 || spec.program[0] != '/' || spec.argv.empty())
    return Error(Code::kInvalidArgument, "the program is not an absolute path with arguments");
  if (spec.filter == nullptr) return Error(Code::kInvalidArgument, "no seccomp filter");
  process.facts.landlock_abi = TRY(sys::LandlockAbi());
  TRY(PlanBinds(spec, storage));
  UniqueFd devnull = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  sys::Pipe errors;
  int stderr_fd = spec.stderr_fd;
  if (stderr_fd == -1) {
    errors = TRY(sys::MakePipe());
    TRY(sys::SetNonBlocking(errors.read, true));
    stderr_fd = errors.write.get();
  }
  TRY(PlanDescriptors(spec, devnull.get(), stderr_fd, storage));
  PlanLimits(spec, storage, process.facts);
  TRY(PlanIds(process, storage));
  storage.doors = TRY(CgroupDoors::Open(spec.cgroup));
  FillPlan(spec, process.facts.landlock_abi, storage);
  auto channels = TRY(InitChannels::Create());
  auto leash = TRY(sys::MakePipe());
  channels.FillPlan(storage.plan);
  storage.plan.leash = leash.read.get();

  uint64_t users = storage.plan.user_namespace ? CLONE_NEWUSER : 0;
  ClonedInit init = TRY(CloneInit(CLONE_NEWNET | users, spec.cgroup));
  if (init.pid == 0) RunJailInit(storage.plan);
  sys::Child child(std::move(init.pidfd));  // Killed and reaped on every error below.
  channels.CloseInitsEnds();
  leash.read.Reset();
  TRY(ExpectStarted(channels.report.read, storage));
  process.pidfd = std::move(child).Detach();
  process.status = std::move(channels.status.read);
  process.leash = std::move(leash.write);
  process.stderr_pipe = std::move(errors.read);
  if (spec.cgroup != nullptr) process.facts.cgroups = spec.cgroup->Paths();
  NameWalls(process.facts);
  return process;
}

}  // namespace

Result<JailedProcess> StartJailed(const JailSpec& spec) {
  return Start(spec).Context(Cat("jail ", spec.name));
}

void KillJailed(JailedProcess& process) { KillInit(process.pidfd, process.leash); }

Result<JailExit> ReapJailed(JailedProcess& process) {
  return ReapInit(process.pidfd, process.status);
}

}  // namespace msb::jail
