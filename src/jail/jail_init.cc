// SPDX-License-Identifier: Apache-2.0
// The jail from inside: PID 1 of its PID namespace, and the last steps of the program's process.
//
// Between clone and exec: system calls on prepared values only. Each failure is reported as
// {step, errno, index} and ends the process; the kernel then takes the namespaces away, and with
// them every mount.

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "jail/jail_plan.h"
#include "jail/policies.h"
#include "sys/capability.h"
#include "sys/landlock.h"
#include "sys/mount.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

constexpr int kPidfdIdType = 3;  // P_PIDFD

class Child {
 public:
  explicit Child(JailPlan& plan) : plan_(plan) {}
  [[noreturn]] void Run();

 private:
  [[noreturn]] void Fail(JailStep step, uint32_t index = 0) {
    JailReport report{step, errno, index};
    [[maybe_unused]] ssize_t ignored = ::write(plan_.report, &report, sizeof report);
    ::_exit(125);
  }
  // `failed` as system calls answer: -1 and errno.
  void Check(JailStep step, long rc, uint32_t index = 0) {
    if (plan_.fail_at == static_cast<int>(step)) {
      rc = -1;
      errno = EPERM;
    }
    if (rc == -1) Fail(step, index);
  }

  void MoveDescriptors();
  void CheckParent(JailStep step);
  void EnterCgroup();
  void MapIds();
  void WriteFile(JailStep step, const char* path, const char* text);
  void BuildRoot();
  void AddBind(int root, uint32_t index);
  void EnterRoot(int root);
  int Fork();
  [[noreturn]] void RunProgram();
  void RestrictFiles();
  [[noreturn]] void RunInit(int program_pidfd);

  JailPlan& plan_;
};

void ResetSignals() {
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; signal++) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Everything we keep goes to numbers from kFirstInitFd on, everything else is closed: what the
// caller had open (records, other sandboxes' channels) must not be found in here.
void Child::MoveDescriptors() {
  constexpr size_t kMost = 128;
  int* wanted[kMost];
  size_t count = 0;
  int* own[] = {&plan_.report, &plan_.status, &plan_.leash, &plan_.parent_pidfd, &plan_.slot_lock};
  for (int* fd : own) wanted[count++] = fd;
  for (PlannedFd& fd : plan_.fds) wanted[count++] = &fd.fd;
  for (int& door : plan_.cgroup_doors) wanted[count++] = &door;
  int kept[kMost];
  size_t kept_count = 0;
  for (size_t i = 0; i < count; i++) {
    if (*wanted[i] == -1) continue;
    int moved = ::fcntl(*wanted[i], F_DUPFD_CLOEXEC, kFirstInitFd);
    Check(JailStep::kDescriptors, moved, static_cast<uint32_t>(i));
    *wanted[i] = moved;
    kept[kept_count++] = moved;
  }
  std::sort(kept, kept + kept_count);
  unsigned next = 0;
  for (size_t i = 0; i < kept_count; i++) {
    auto fd = static_cast<unsigned>(kept[i]);
    if (fd > next) Check(JailStep::kDescriptors, ::syscall(SYS_close_range, next, fd - 1, 0));
    next = fd + 1;
  }
  Check(JailStep::kDescriptors, ::syscall(SYS_close_range, next, ~0u, 0));
}

// PDEATHSIG is lost at a change of ids and says nothing about a parent that died before it was set.
void Child::CheckParent(JailStep step) {
  Check(step, ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  pollfd parent{plan_.parent_pidfd, POLLIN, 0};
  int n = ::poll(&parent, 1, 0);
  if (n == 1) errno = ESRCH;
  Check(step, n == 0 ? 0 : -1);
}

// By ourselves: to be moved by another process would wait for a grace period of RCU, 6 to 14 ms on
// an idle host.
void Child::EnterCgroup() {
  if (plan_.cgroup_doors.empty()) return;
  for (int door : plan_.cgroup_doors) {
    Check(JailStep::kEnterCgroup, ::write(door, "0", 1));
    ::close(door);
  }
  Check(JailStep::kCgroupNamespace, ::unshare(CLONE_NEWCGROUP));
}

void Child::WriteFile(JailStep step, const char* path, const char* text) {
  int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  Check(step, fd);
  Check(step, ::write(fd, text, std::strlen(text)));
  ::close(fd);
}

void Child::MapIds() {
  // Without setgroups the kernel lets an ordinary user map its group.
  WriteFile(JailStep::kSetgroups, "/proc/self/setgroups", "deny");
  WriteFile(JailStep::kUidMap, "/proc/self/uid_map", plan_.uid_map);
  WriteFile(JailStep::kGidMap, "/proc/self/gid_map", plan_.gid_map);
}

void Child::AddBind(int root, uint32_t index) {
  const PlannedBind& bind = plan_.binds[index];
  Check(JailStep::kMakeTarget, sys::RawMakeMountTarget(root, bind.target, bind.directory), index);
  int tree = sys::RawOpenTree(AT_FDCWD, bind.source, true);
  Check(JailStep::kOpenSource, tree, index);
  Check(JailStep::kSealSource,
        sys::RawSetMountAttributes(
            tree, sys::kMountReadOnly | sys::kMountNoSetuid | sys::kMountNoDevices, true),
        index);
  Check(JailStep::kAttachSource, sys::RawMoveMount(tree, root, bind.target), index);
  ::close(tree);
}

void Child::BuildRoot() {
  // Our copies of the host's mounts must neither send nor receive changes.
  Check(JailStep::kPrivateMounts, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  int root = sys::RawNewTmpfs(plan_.root_options,
                              sys::kMountNoSetuid | sys::kMountNoDevices | sys::kMountNoExec);
  Check(JailStep::kRootFilesystem, root);
  // Laid over "/": lookups still start in the host's root below it until pivot_root.
  Check(JailStep::kAttachRoot, sys::RawMoveMount(root, AT_FDCWD, "/"));
  for (uint32_t i = 0; i < plan_.binds.size(); i++) AddBind(root, i);
  EnterRoot(root);
}

void Child::EnterRoot(int root) {
  Check(JailStep::kEnterRoot, ::fchdir(root));
  Check(JailStep::kEnterRoot, ::syscall(SYS_pivot_root, ".", "."));
  // The host's root now lies over ours at "."; it goes, and every mount below it.
  Check(JailStep::kDetachHost, ::umount2(".", MNT_DETACH));
  Check(JailStep::kDetachHost, ::chdir("/"));
  Check(JailStep::kSealRoot,
        sys::RawSetMountAttributes(root, sys::kMountReadOnly, /*recursive=*/false));
  ::close(root);
}

int Child::Fork() {
  int pidfd = -1;
  clone_args args;
  std::memset(&args, 0, sizeof args);
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  Check(JailStep::kFork, pid);
  if (pid == 0) RunProgram();
  return pidfd;
}

void Child::RestrictFiles() {
  int ruleset = sys::RawLandlockCreate(plan_.landlock_abi, sys::LandlockSignals::kForbid);
  Check(JailStep::kLandlock, ruleset);
  int root = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Check(JailStep::kLandlock, root);
  Check(JailStep::kLandlock, sys::RawLandlockAllow(ruleset, root, sys::landlock::kReadTree));
  Check(JailStep::kLandlock, sys::RawLandlockAllow(ruleset, kProgramFd, sys::landlock::kExecute));
  for (uint32_t i = 0; i < plan_.binds.size(); i++) {
    const PlannedBind& bind = plan_.binds[i];
    if (!bind.executable) continue;
    int fd = ::open(bind.target, O_PATH | O_CLOEXEC);
    Check(JailStep::kLandlock, fd, i);
    Check(JailStep::kLandlock, sys::RawLandlockAllow(ruleset, fd, sys::landlock::kExecute), i);
    ::close(fd);
  }
  Check(JailStep::kLandlock, sys::RawLandlockRestrictSelf(ruleset));
  ::close(ruleset);
  ::close(root);
}

void Child::RunProgram() {
  Check(JailStep::kSession, ::setsid());
  int program = ::open(plan_.program, O_PATH | O_CLOEXEC);
  Check(JailStep::kOpenProgram, program);
  Check(JailStep::kOpenProgram, ::dup3(program, kProgramFd, O_CLOEXEC));
  for (uint32_t i = 0; i < plan_.fds.size(); i++)
    Check(JailStep::kPlaceDescriptors, ::dup2(plan_.fds[i].fd, plan_.fds[i].number), i);
  for (uint32_t i = 0; i < plan_.limits.size(); i++)
    Check(JailStep::kLimits,
          ::setrlimit(static_cast<__rlimit_resource>(plan_.limits[i].resource),
                      &plan_.limits[i].value),
          i);
  ::umask(077);

  // The bounding set first: emptying it needs the capability that leaves with the ids.
  uint64_t for_ids = plan_.user_namespace ? 0 : 1ull << CAP_SETUID | 1ull << CAP_SETGID;
  Check(JailStep::kBoundingSet, sys::RawDropCapabilities(for_ids));
  if (!plan_.user_namespace) {
    Check(JailStep::kSetIds, ::syscall(SYS_setgroups, 0, nullptr));
    Check(JailStep::kSetIds, ::syscall(SYS_setresgid, plan_.gid, plan_.gid, plan_.gid));
    Check(JailStep::kSetIds, ::syscall(SYS_setresuid, plan_.uid, plan_.uid, plan_.uid));
  }
  Check(JailStep::kCapabilities, sys::RawDropCapabilities(0));
  Check(JailStep::kNoNewPrivileges, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  RestrictFiles();
  char* const none[] = {nullptr};
  Check(JailStep::kSeccomp, sys::RawInstallSeccompFilter(plan_.filter, plan_.filter_length));
  Check(JailStep::kExec, 0);  // For tests: after a real success nobody is left to fail.
  Check(JailStep::kExec, ::syscall(SYS_execveat, kProgramFd, "", plan_.argv, none, AT_EMPTY_PATH));
  __builtin_unreachable();
}

// Three system calls a run: wait, take the status, tell it. Ends when the program does, when the
// leash is let go, or when the parent dies.
void Child::RunInit(int program_pidfd) {
  for (PlannedFd& fd : plan_.fds) ::close(fd.fd);
  Check(JailStep::kInitCapabilities, sys::RawDropCapabilities(0));
  Check(JailStep::kInitNoNewPrivileges, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CheckParent(JailStep::kInitParentDeath);
  Check(JailStep::kInitSeccomp,
        sys::RawInstallSeccompFilter(plan_.init_filter, plan_.init_filter_length));
  ::close(plan_.report);
  for (;;) {
    pollfd waits[] = {{program_pidfd, POLLIN, 0}, {plan_.leash, 0, 0}};
    if (::poll(waits, 2, -1) == -1 && errno != EINTR) ::_exit(1);
    if (waits[1].revents != 0) ::_exit(1);
    if (waits[0].revents == 0) continue;
    siginfo_t info;
    std::memset(&info, 0, sizeof info);
    if (::waitid(static_cast<idtype_t>(kPidfdIdType), static_cast<id_t>(program_pidfd), &info,
                 WEXITED) == -1)
      ::_exit(1);
    int32_t status[2] = {info.si_code, info.si_status};
    [[maybe_unused]] ssize_t ignored = ::write(plan_.status, status, sizeof status);
    ::_exit(0);
  }
}

void Child::Run() {
  ResetSignals();
  ::umask(022);  // The program's id must be able to walk the root that we build.
  MoveDescriptors();
  CheckParent(JailStep::kParentAlive);
  EnterCgroup();
  if (plan_.user_namespace) MapIds();
  Check(JailStep::kHostname, ::sethostname(plan_.hostname, std::strlen(plan_.hostname)));
  BuildRoot();
  RunInit(Fork());
}

}  // namespace

void RunJailInit(JailPlan& plan) { Child(plan).Run(); }

}  // namespace msb::jail
