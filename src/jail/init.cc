// SPDX-License-Identifier: Apache-2.0
// System calls on prepared values only.

#include "jail/init.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace msb::jail {
namespace {

// CLONE_CLEAR_SIGHAND would leave those ignored that the caller ignores: SIGCHLD, for one, without
// which nobody is reaped.
void ResetSignals() {
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; signal++) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

void Init::Fail(StepNumber step, uint32_t index) {
  StepReport report{step.value, errno, index};
  [[maybe_unused]] ssize_t ignored = ::write(common_.report, &report, sizeof report);
  ::_exit(125);
}

void Init::Check(StepNumber step, long rc, uint32_t index) {
  if (common_.fail_at == step.value) {
    rc = -1;
    errno = EPERM;
  }
  if (rc == -1) Fail(step, index);
}

void Init::Begin(StepNumber descriptors) {
  ResetSignals();
  ::umask(022);  // The program's id must be able to walk the root that we build.
  int* wanted[kMostKeptFds];
  size_t count = 0;
  auto want = [&](int& fd) {
    if (fd == -1) return;
    errno = E2BIG;
    Check(descriptors, count < kMostKeptFds ? 0 : -1);
    wanted[count++] = &fd;
  };
  for (int* own : {&common_.report, &common_.status, &common_.leash, &common_.parent_pidfd,
                   &common_.slot_lock})
    want(*own);
  for (PlannedFd& fd : common_.fds) want(fd.fd);
  for (int& door : common_.cgroup_doors) want(door);
  int kept[kMostKeptFds];
  for (size_t i = 0; i < count; i++) {
    kept[i] = ::fcntl(*wanted[i], F_DUPFD_CLOEXEC, kFirstInitFd);
    Check(descriptors, kept[i], static_cast<uint32_t>(i));
    *wanted[i] = kept[i];
  }
  std::sort(kept, kept + count);
  unsigned next = 0;
  for (size_t i = 0; i < count; i++) {
    auto fd = static_cast<unsigned>(kept[i]);
    if (fd > next) Check(descriptors, ::syscall(SYS_close_range, next, fd - 1, 0));
    next = fd + 1;
  }
  Check(descriptors, ::syscall(SYS_close_range, next, ~0u, 0));
}

void Init::DieWithParent(StepNumber step) {
  Check(step, ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  pollfd parent{common_.parent_pidfd, POLLIN, 0};
  int n = ::poll(&parent, 1, 0);
  if (n == 1) errno = ESRCH;
  Check(step, n == 0 ? 0 : -1);
}

void Init::EnterCgroup(StepNumber enter, StepNumber own_namespace) {
  for (int door : common_.cgroup_doors) {
    Check(enter, ::write(door, "0", 1));
    ::close(door);
  }
  Check(own_namespace, ::unshare(CLONE_NEWCGROUP));
}

void Init::WriteFile(StepNumber step, int directory, const char* path, const char* text) {
  int fd = ::openat(directory, path, O_WRONLY | O_CLOEXEC);
  Check(step, fd);
  Check(step, ::write(fd, text, std::strlen(text)));
  ::close(fd);
}

void Init::TakeIds(StepNumber step, bool drop_groups, uid_t uid, gid_t gid) {
  // By number: the C library would tell threads that are not there.
  if (drop_groups) Check(step, ::syscall(SYS_setgroups, 0, nullptr));
  Check(step, ::syscall(SYS_setresgid, gid, gid, gid));
  Check(step, ::syscall(SYS_setresuid, uid, uid, uid));
}

long Init::Fork(StepNumber step, int& pidfd) {
  clone_args args;
  std::memset(&args, 0, sizeof args);
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  Check(step, pid);
  return pid;
}

void Init::PlaceDescriptors(StepNumber step) {
  for (uint32_t i = 0; i < common_.fds.size(); i++)
    Check(step, ::dup2(common_.fds[i].fd, common_.fds[i].number), i);
}

void Init::SetLimits(StepNumber step) {
  for (uint32_t i = 0; i < common_.limits.size(); i++) {
    const ResourceLimit& limit = common_.limits[i];
    Check(step, ::setrlimit(static_cast<__rlimit_resource>(limit.resource), &limit.value), i);
  }
}

void EnterRoot(Init& init, StepNumber enter, StepNumber detach, int root, int layers) {
  init.Check(enter, ::fchdir(root));
  init.Check(enter, ::syscall(SYS_pivot_root, ".", "."));
  for (int i = 0; i < layers; i++) init.Check(detach, ::umount2(".", MNT_DETACH));
  init.Check(detach, ::chdir("/"));
  struct statx ours, above;
  init.Check(detach, ::statx(root, "", AT_EMPTY_PATH, STATX_MNT_ID, &ours));
  init.Check(detach, ::statx(AT_FDCWD, "/..", 0, STATX_MNT_ID, &above));
  errno = EXDEV;
  bool told = (ours.stx_mask & above.stx_mask & STATX_MNT_ID) != 0;
  init.Check(detach, told && ours.stx_mnt_id == above.stx_mnt_id ? 0 : -1);
}

}  // namespace msb::jail
