// SPDX-License-Identifier: Apache-2.0
// The sandbox from outside: works out the plan, clones the init, maps ids, hears how it went.

#include "jail/box/box.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/text.h"
#include "jail/box/policy.h"
#include "jail/box/steps.h"
#include "sys/file.h"
#include "sys/landlock.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace msb::box {
namespace {

// Owns what a Plan points at. Strings first, pointers when no container grows any more.
struct Storage {
  std::vector<PlannedBind> binds;
  std::vector<PlannedFile> files;
  std::vector<PlannedLink> links;
  std::vector<PlannedFd> fds;
  std::vector<std::string> targets, candidates;
  std::vector<const char*> candidate_pointers;
  std::vector<char*> argv, environment;
  std::string time_offsets, size, hosts, hostname_file, resolv, passwd, group, loader_directory, loader_target;
  std::vector<UniqueFd> trees;  // To be sent: the root's first, where there is one, then binds'.
  Plan plan{};
};

struct Ids {
  std::string uid_map, gid_map;
  bool deny_setgroups = false;
};

bool IsRoot() { return ::geteuid() == 0; }

std::string NoSlash(const std::string& path) {
  size_t begin = path.find_first_not_of('/');
  return begin == std::string::npos ? "" : path.substr(begin);
}

Result<void> PlanBinds(const Spec& spec, Storage& storage) {
  if (spec.binds.size() >= kMaxSentTrees)
    return Error(Code::kInvalidArgument, Cat("more than ", kMaxSentTrees - 1, " binds"));
  storage.targets.reserve(spec.binds.size());
  for (const Bind& bind : spec.binds) {
    struct stat info;
    if (::stat(bind.source.c_str(), &info) == -1)
      return Error::Errno(Cat("bind ", bind.source)).Remedy("name a file or directory of the host");
    storage.targets.push_back(NoSlash(bind.target));
    storage.binds.push_back({.source = bind.source.c_str(),
                             .target = storage.targets.back().c_str(),
                             .directory = S_ISDIR(info.st_mode),
                             .writable = bind.writable,
                             .sent = false});
  }
  return {};
}

// With the host's /lib in an empty root, programs still name their loader /lib64/ld-linux-*: the
// link there leads to the same file by the way that is mounted.
Result<void> PlanLoaderLink(const Spec& spec, Storage& storage) {
  if (spec.root != RootKind::kEmpty) return {};
  const Bind* library = nullptr;
  for (const Bind& bind : spec.binds) {
    if (bind.target == "/lib64") return {};
    if (bind.target == "/lib") library = &bind;
  }
  if (library == nullptr) return {};
  constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";
  char loader[PATH_MAX], directory[PATH_MAX];
  if (::realpath(kLoader, loader) == nullptr ||
      ::realpath(library->source.c_str(), directory) == nullptr)
    return {};
  std::string inside = Cat(directory, "/");
  if (!std::string_view(loader).starts_with(inside)) return {};
  storage.loader_target = Cat("/lib/", std::string_view(loader).substr(inside.size()));
  storage.links.push_back({"lib64", "ld-linux-x86-64.so.2", storage.loader_target.c_str()});
  return {};
}

void PlanEtc(const Spec& spec, Storage& storage) {
  storage.hosts = Cat("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t",
                      spec.hostname, "\n");
  storage.hostname_file = Cat(spec.hostname, "\n");
  for (const std::string& server : spec.dns) storage.resolv += Cat("nameserver ", server, "\n");
  storage.passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
  storage.group = "root:x:0:\nnogroup:x:65534:\n";
  storage.files = {{"etc", "hosts", storage.hosts.c_str(), false},
                   {"etc", "hostname", storage.hostname_file.c_str(), false},
                   {"etc", "resolv.conf", storage.resolv.c_str(), false},
                   {"etc", "passwd", storage.passwd.c_str(), true},
                   {"etc", "group", storage.group.c_str(), true}};
}

// Where execvp(3) would look.
void PlanCandidates(const Spec& spec, Storage& storage) {
  const std::string& name = spec.argv[0];
  if (name.find('/') != std::string::npos) {
    storage.candidates.push_back(name);
  } else {
    std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (const std::string& setting : spec.environment)
      if (setting.starts_with("PATH=")) path = std::string_view(setting).substr(5);
    for (const std::string& directory : Split(path, ':'))
      storage.candidates.push_back(Cat(directory.empty() ? "." : directory, "/", name));
  }
  for (const std::string& candidate : storage.candidates)
    storage.candidate_pointers.push_back(candidate.c_str());
}

Result<void> PlanDescriptors(const Spec& spec, Storage& storage) {
  if (spec.keep_fds.size() > kMaxKeptFds - 3)
    return Error(Code::kInvalidArgument, Cat("more than ", kMaxKeptFds - 3, " kept descriptors"));
  storage.fds = {{0, 0}, {1, 1}, {2, 2}};
  for (int fd : spec.keep_fds) {
    if (fd < 3 || fd > kMaxCommandFd)
      return Error(Code::kInvalidArgument, Cat("kept descriptor ", fd))
          .Remedy(Cat("numbers from 3 to ", kMaxCommandFd, " can be kept"));
    if (::fcntl(fd, F_GETFD) == -1) return Error::Errno(Cat("kept descriptor ", fd));
    storage.fds.push_back({fd, fd});
  }
  return {};
}

Result<Ids> PlanIds(const Spec& spec, Running& running, Storage& storage) {
  Ids ids;
  Plan& plan = storage.plan;
  plan.slot_lock = -1;
  plan.own_users = spec.users == UserMode::kIsolated;
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
    ids.uid_map = ids.gid_map = Cat("0 ", first, ' ', jail::kIdsOfRange, "\n");
    running.facts.ids = Cat(jail::kIdsOfRange, " from ", first);
    plan.slot_lock = running.range->lock.get();
    plan.drop_groups = true;
    plan.devpts_group = true;
  } else {
    ids.uid_map = Cat(spec.uid, ' ', ::geteuid(), " 1\n");
    ids.gid_map = Cat(spec.gid, ' ', ::getegid(), " 1\n");
    ids.deny_setgroups = true;
    running.facts.ids = Cat("the user's own id ", ::geteuid(), " as ", spec.uid);
  }
  return ids;
}

// Inside, the machine has just been started: the host's uptime is none of the sandbox's business.
std::string TimeOffsets() {
  timespec monotonic{}, boottime{};
  ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
  ::clock_gettime(CLOCK_BOOTTIME, &boottime);
  return Cat("monotonic -", monotonic.tv_sec, " 0\nboottime -", boottime.tv_sec, " 0\n");
}

struct Cloned {
  int pid;
  UniqueFd pidfd;
};

Result<Cloned> CloneInit(const Spec& spec, Plan& plan) {
  clone_args args;
  std::memset(&args, 0, sizeof args);
  int pidfd = -1;
  args.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (plan.own_network) args.flags |= CLONE_NEWNET;
  if (plan.own_users) args.flags |= CLONE_NEWUSER;
  if (spec.cgroup != nullptr && spec.cgroup->into_fd()) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(spec.cgroup->into_fd().get());
  }
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  // SAFETY: a fork; the child leaves through RunInit() and never returns into this frame.
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) RunInit(plan);
  if (pid == -1)
    return Error::Errno("clone3 with namespaces").Remedy(CloneRemedy(errno, plan.own_users));
  return Cloned{static_cast<int>(pid), UniqueFd(pidfd)};
}

Result<void> WriteMaps(int pid, const Ids& ids) {
  UniqueFd proc = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", pid), O_PATH | O_DIRECTORY));
  auto write = [&](const char* name, std::string_view text) -> Result<void> {
    UniqueFd file = TRY(sys::OpenAt(proc, name, O_WRONLY));
    return sys::WriteAll(file, text).Context(name);
  };
  if (ids.deny_setgroups) TRY(write("setgroups", "deny"));
  TRY(write("uid_map", ids.uid_map));
  return write("gid_map", ids.gid_map);
}

// A tree of the host as it is to be seen inside: what root owns outside, root owns inside.
Result<UniqueFd> MapTree(const std::string& path, BorrowedFd users) {
  UniqueFd tree(sys::RawOpenTree(AT_FDCWD, path.c_str(), true));
  if (!tree) return Error::Errno(Cat("open ", path));
  if (sys::RawMapMountIds(tree.get(), users.get(), true) == -1) return Error::Errno(Cat("ID-map ", path));
  return tree;
}

// Only root can ID-map, and must: a user's own files are the one mapped id's already.
Result<void> MapTrees(const Spec& spec, int pid, Storage& storage) {
  if (!IsRoot() || !storage.plan.own_users) return {};
  UniqueFd users = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", pid, "/ns/user"), O_RDONLY));
  auto refused = [](const Error& error) { return error.sys_errno() == EINVAL; };
  if (spec.root != RootKind::kEmpty) {
    std::string path = spec.root == RootKind::kHost ? "/" : spec.root_directory;
    auto tree = MapTree(path, users);
    if (!tree) {
      if (refused(tree.error()))
        return Error(Code::kFailedPrecondition,
                     Cat("root ", path, ": its file system, or one mounted in it, cannot map ids"))
            .Remedy("use a directory on ext4, xfs, btrfs or tmpfs, or --userns host");
      return std::move(tree).error();
    }
    storage.trees.push_back(std::move(*tree));
  }
  for (size_t i = 0; i < spec.binds.size(); i++) {
    const Bind& bind = spec.binds[i];
    auto tree = MapTree(bind.source, users);
    if (!tree) {
      if (!refused(tree.error())) return std::move(tree).error();
      if (bind.writable)
        return Error(Code::kFailedPrecondition,
                     Cat("bind ", bind.source, ": its file system cannot map ids"))
            .Remedy("bind it read-only, use another file system, or --userns host");
      // Read-only: bound as it is, its owners show as nobody.
      tree = UniqueFd(sys::RawOpenTree(AT_FDCWD, bind.source.c_str(), true));
      if (!*tree) return Error::Errno(Cat("open ", bind.source));
    }
    storage.trees.push_back(std::move(*tree));
  }
  return {};
}

Result<void> Go(BorrowedFd leash, const Storage& storage) {
  constexpr size_t kAtOnce = 16;
  std::vector<BorrowedFd> fds(storage.trees.begin(), storage.trees.end());
  for (std::span<const BorrowedFd> rest = fds; !rest.empty();) {
    auto part = rest.first(std::min(rest.size(), kAtOnce));
    std::byte trees{kTrees};
    TRY(sys::SendWithFds(leash, std::span(&trees, 1), part));
    rest = rest.subspan(part.size());
  }
  std::byte go{kGo};
  return sys::WriteAll(leash, std::span(&go, 1));
}

// What the step was done to: " /etc/hosts".
std::string Operand(const Report& said, const Spec& spec, const Storage& storage) {
  Step step = said.step;
  bool bind = step == Step::kBindTarget || step == Step::kBindSource || step == Step::kBindAttach;
  if (bind && said.index < spec.binds.size())
    return Cat(' ', spec.binds[said.index].source, " at ", spec.binds[said.index].target);
  if (step == Step::kEtc && said.index < storage.files.size())
    return Cat(" /etc/", storage.files[said.index].name);
  if (step == Step::kRootTree || step == Step::kOverlay) return Cat(' ', spec.root_directory);
  if (step == Step::kDirectory) return Cat(' ', spec.directory);
  return "";
}

Result<void> HearReport(BorrowedFd report, const Spec& spec, const Storage& storage,
                        std::optional<Error>& exec_error) {
  Report said;
  auto n = TRY(sys::ReadSome(report, std::as_writable_bytes(std::span(&said, 1))));
  if (n == 0) return {};
  if (n != sizeof said || said.step >= Step::kCount)
    return Error(Code::kInternal, "the sandbox's init died while it set up");
  if (said.step == Step::kExec) {
    exec_error = ExecError(spec, said.error);
    return {};
  }
  std::string what = Cat(StepName(said.step), Operand(said, spec, storage));
  return Error::Errno(what, said.error).Remedy(StepRemedy(said.step, said.error));
}

void NameWalls(const Plan& plan, Facts& facts) {
  if (plan.own_users) facts.walls.emplace_back("user namespace");
  if (plan.own_network) facts.walls.emplace_back("network namespace");
  for (const char* wall : {"pid namespace", "mount namespace", "ipc namespace", "uts namespace",
                           "cgroup namespace", "time namespace", "seccomp", "no_new_privs"})
    facts.walls.emplace_back(wall);
  if (plan.landlock_abi > 0) facts.walls.emplace_back("landlock");
}

void NameLimits(const Spec& spec, Facts& facts) {
  auto name = [&](const char* what, bool set) {
    facts.limits.push_back(Cat(what, set ? ": cgroup" : ": none"));
  };
  name("memory", spec.cgroup != nullptr && spec.cgroup->LimitsMemory());
  name("cpu", spec.cgroup != nullptr && spec.cgroup->LimitsCpu());
  name("pids", spec.cgroup != nullptr && spec.cgroup->LimitsPids());
}

}  // namespace

Result<Running> Start(const Spec& spec, std::optional<Step> fail_at) {
  if (spec.argv.empty()) return Error(Code::kInvalidArgument, "no command");
  if (spec.filter == nullptr) return Error(Code::kInvalidArgument, "no seccomp filter");
  Running running;
  Storage storage;
  Plan& plan = storage.plan;
  TRY(PlanBinds(spec, storage));
  TRY(PlanLoaderLink(spec, storage));
  if (spec.root != RootKind::kHost) PlanEtc(spec, storage);
  PlanCandidates(spec, storage);
  TRY(PlanDescriptors(spec, storage));
  Ids ids = TRY(PlanIds(spec, running, storage));
  for (PlannedBind& bind : storage.binds) bind.sent = IsRoot() && plan.own_users;
  for (const std::string& word : spec.argv) storage.argv.push_back(const_cast<char*>(word.c_str()));
  storage.argv.push_back(nullptr);
  for (const std::string& setting : spec.environment)
    storage.environment.push_back(const_cast<char*>(setting.c_str()));
  storage.environment.push_back(nullptr);
  storage.size = Cat(spec.storage_bytes);

  auto abi = sys::LandlockAbi();
  running.facts.landlock_abi = abi.ok() ? *abi : 0;
  sys::Pipe report = TRY(sys::MakePipe());
  sys::Pipe status = TRY(sys::MakePipe());
  auto leash = TRY(sys::MakeSocketPair());
  UniqueFd self = TRY(sys::PidfdOpen(::getpid()));

  plan.root = spec.root;
  plan.root_directory = spec.root_directory.c_str();
  plan.root_sent = IsRoot() && plan.own_users && spec.root != RootKind::kEmpty;
  plan.read_only = spec.read_only;
  plan.storage = storage.size.c_str();
  plan.binds = storage.binds;
  plan.files = storage.files;
  plan.links = storage.links;
  plan.own_network = spec.net == NetMode::kNone;
  plan.own_time = true;
  storage.time_offsets = TimeOffsets();
  plan.time_offsets = storage.time_offsets.c_str();
  plan.hostname = spec.hostname.c_str();
  plan.fds = storage.fds;
  plan.limits = spec.limits;
  plan.directory = spec.directory.c_str();
  plan.uid = spec.uid;
  plan.gid = spec.gid;
  plan.capabilities = spec.capabilities;
  plan.candidates = storage.candidate_pointers;
  plan.argv = storage.argv.data();
  plan.environment = storage.environment.data();
  plan.filter = spec.filter->code.data();
  plan.filter_length = spec.filter->length;
  plan.init_filter = kInitFilter.code.data();
  plan.init_filter_length = kInitFilter.length;
  plan.landlock_abi = running.facts.landlock_abi;
  plan.report = report.write.get();
  plan.status = status.write.get();
  plan.leash = leash.second.get();
  plan.parent_pidfd = self.get();
  plan.fail_at = fail_at ? static_cast<int>(*fail_at) : -1;

  Cloned init = TRY(CloneInit(spec, plan));
  sys::Child child(std::move(init.pidfd));  // Killed and reaped on every error below.
  report.write.Reset();
  status.write.Reset();
  leash.second.Reset();
  if (plan.own_users) TRY(WriteMaps(init.pid, ids));
  if (spec.cgroup != nullptr && spec.cgroup->has_v1()) TRY(spec.cgroup->Add(init.pid));
  TRY(MapTrees(spec, init.pid, storage));
  TRY(Go(leash.first, storage));
  TRY(HearReport(report.read, spec, storage, running.exec_error));
  running.pidfd = std::move(child).Detach();
  running.status = std::move(status.read);
  running.leash = std::move(leash.first);
  NameWalls(plan, running.facts);
  NameLimits(spec, running.facts);
  return running;
}

Result<void> Signal(const Running& running, int signal) {
  auto byte = static_cast<std::byte>(signal);
  return sys::WriteAll(running.leash, std::span(&byte, 1));
}

void Kill(Running& running) {
  (void)sys::PidfdSendSignal(running.pidfd, SIGKILL);
  running.leash.Reset();
}

Result<Exit> Reap(Running& running) {
  auto init = TRY(sys::Reap(running.pidfd, Deadline::Never()));
  running.pidfd.Reset();
  int32_t status[2];
  auto n = sys::ReadSome(running.status, std::as_writable_bytes(std::span(status)));
  if (init.signaled || init.code != 0 || !n || *n != sizeof status)
    return Exit{Exit::How::kKilledWithSandbox, 0};
  constexpr int kExited = 1;  // CLD_EXITED
  return Exit{status[0] == kExited ? Exit::How::kExited : Exit::How::kSignaled, status[1]};
}

}  // namespace msb::box
