// SPDX-License-Identifier: Apache-2.0
#include "jail/start_init.h"

#include <linux/sched.h>
#include <linux/types.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "jail/namespace_remedy.h"
#include "sys/process.h"

namespace msb::jail {

namespace {

constexpr uint64_t kAlways = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;

// Tried, with a child that ends at once.
bool CanCloneWith(uint64_t namespaces) {
  clone_args args;
  std::memset(&args, 0, sizeof args);
  int pidfd = -1;
  args.flags = CLONE_PIDFD | kAlways | namespaces;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ::_exit(0);
  if (pid == -1) return false;
  UniqueFd child(pidfd);
  (void)sys::Reap(child, Deadline::Never());
  return true;
}

}  // namespace

Result<InitChannels> InitChannels::Create() {
  InitChannels channels;
  channels.report = TRY(sys::MakePipe());
  channels.status = TRY(sys::MakePipe());
  channels.self = TRY(sys::PidfdOpen(::getpid()));
  return channels;
}

void InitChannels::FillPlan(InitPlan& plan) const {
  plan.report = report.write.get();
  plan.status = status.write.get();
  plan.parent_pidfd = self.get();
}

void InitChannels::CloseInitsEnds() {
  report.write.Reset();
  status.write.Reset();
}

Result<CgroupDoors> CgroupDoors::Open(const sys::Cgroup* cgroup) {
  CgroupDoors doors;
  if (cgroup != nullptr) doors.fds = TRY(cgroup->OpenV1Doors());
  for (const UniqueFd& door : doors.fds) doors.numbers.push_back(door.get());
  return doors;
}

Result<ClonedInit> CloneInit(uint64_t more, const sys::Cgroup* cgroup) {
  clone_args args;
  std::memset(&args, 0, sizeof args);
  int pidfd = -1;
  args.flags = CLONE_PIDFD | kAlways | more;
  if (cgroup != nullptr && cgroup->into_fd()) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup->into_fd().get());
  }
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid != -1) return ClonedInit{static_cast<int>(pid), UniqueFd(pidfd)};
  int err = errno;
  // cgroups(7), "Delegation containment": who moves a process must be able to write to the lowest
  // cgroup that has both places below it. A security module says the same of namespaces.
  if (err == EACCES && (args.flags & CLONE_INTO_CGROUP) != 0 && CanCloneWith(more))
    return Error::Errno("clone3 into the cgroup", err)
        .Remedy("run it in a child of the delegated cgroup, or give one that is beside yours");
  return Error::Errno("clone3 with namespaces", err)
      .Remedy(NamespaceRemedy(err, (more & CLONE_NEWUSER) != 0));
}

Result<std::optional<StepReport>> HearReport(BorrowedFd report, StepNumber steps) {
  StepReport said;
  auto n = TRY(sys::ReadSome(report, std::as_writable_bytes(std::span(&said, 1))));
  if (n == 0) return std::nullopt;
  if (n != sizeof said || said.step >= steps.value)
    return Error(Code::kInternal, "the init died while it set up");
  return said;
}

Result<JailExit> ReapInit(UniqueFd& pidfd, BorrowedFd status) {
  auto init = TRY(sys::Reap(pidfd, Deadline::Never()));
  pidfd.Reset();
  int32_t told[2];
  auto n = sys::ReadSome(status, std::as_writable_bytes(std::span(told)));
  if (init.signaled || init.code != 0 || !n || *n != sizeof told)
    return JailExit{JailExit::How::kKilledWithJail, 0};
  constexpr int kExited = 1;  // CLD_EXITED
  return JailExit{told[0] == kExited ? JailExit::How::kExited : JailExit::How::kSignaled, told[1]};
}

void KillInit(BorrowedFd pidfd, UniqueFd& leash) {
  // Either is enough; the signal is at once, the leash needs no right to send one.
  (void)sys::PidfdSendSignal(pidfd, SIGKILL);
  leash.Reset();
}

}  // namespace msb::jail
