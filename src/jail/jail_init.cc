// SPDX-License-Identifier: Apache-2.0
// The jail from inside: PID 1 of its PID namespace, and the last steps of the program's process.
//
// Between clone and exec: system calls on prepared values only. Each failure is reported as
// {step, errno, index} and ends the process; the kernel then takes the namespaces away, and with
// them every mount.

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <iterator>

#include "jail/init.h"
#include "jail/jail_plan.h"
#include "jail/policies.h"
#include "sys/capability.h"
#include "sys/landlock.h"
#include "sys/mount.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

class JailInit final : public Init {
 public:
  explicit JailInit(JailPlan& plan) : Init(plan), plan_(plan) {}
  [[noreturn]] void Run();

 private:
  void MapIds();
  void BuildRoot();
  void AddBind(int root, uint32_t index);
  [[noreturn]] void RunProgram();
  void RestrictFiles();

  JailPlan& plan_;
};

void JailInit::MapIds() {
  constexpr JailStep kSteps[] = {JailStep::kSetgroups, JailStep::kUidMap, JailStep::kGidMap};
  int self = ::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Check(kSteps[0], self);
  for (size_t i = 0; i < std::size(kSteps); i++)
    WriteFile(kSteps[i], self, plan_.id_maps[i].name, plan_.id_maps[i].text);
  ::close(self);
}

void JailInit::AddBind(int root, uint32_t index) {
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

void JailInit::BuildRoot() {
  // Our copies of the host's mounts must neither send nor receive changes.
  Check(JailStep::kPrivateMounts, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  int root = sys::RawNewTmpfs(plan_.root_options,
                              sys::kMountNoSetuid | sys::kMountNoDevices | sys::kMountNoExec);
  Check(JailStep::kRootFilesystem, root);
  // Laid over "/": lookups still start in the host's root below it until pivot_root.
  Check(JailStep::kAttachRoot, sys::RawMoveMount(root, AT_FDCWD, "/"));
  for (uint32_t i = 0; i < plan_.binds.size(); i++) AddBind(root, i);
  EnterRoot(*this, JailStep::kEnterRoot, JailStep::kDetachHost, root, /*layers=*/1);
  Check(JailStep::kSealRoot,
        sys::RawSetMountAttributes(root, sys::kMountReadOnly, /*recursive=*/false));
  ::close(root);
}

void JailInit::RestrictFiles() {
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

void JailInit::RunProgram() {
  Check(JailStep::kSession, ::setsid());
  int program = ::open(plan_.program, O_PATH | O_CLOEXEC);
  Check(JailStep::kOpenProgram, program);
  Check(JailStep::kOpenProgram, ::dup3(program, kProgramFd, O_CLOEXEC));
  PlaceDescriptors(JailStep::kPlaceDescriptors);
  SetLimits(JailStep::kLimits);
  ::umask(077);

  // The bounding set first: emptying it needs the capability that leaves with the ids.
  uint64_t for_ids = plan_.user_namespace ? 0 : 1ull << CAP_SETUID | 1ull << CAP_SETGID;
  Check(JailStep::kBoundingSet, sys::RawDropCapabilities(for_ids));
  if (!plan_.user_namespace) TakeIds(JailStep::kSetIds, true, plan_.uid, plan_.gid);
  Check(JailStep::kCapabilities, sys::RawDropCapabilities(0));
  Check(JailStep::kNoNewPrivileges, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  RestrictFiles();
  char* const none[] = {nullptr};
  Check(JailStep::kSeccomp, sys::RawInstallSeccompFilter(plan_.filter, plan_.filter_length));
  Check(JailStep::kExec, 0);  // For tests: after a real success nobody is left to fail.
  Check(JailStep::kExec, ::syscall(SYS_execveat, kProgramFd, "", plan_.argv, none, AT_EMPTY_PATH));
  __builtin_unreachable();
}

void JailInit::Run() {
  Begin(JailStep::kDescriptors);
  DieWithParent(JailStep::kParentAlive);
  EnterCgroup(JailStep::kEnterCgroup, JailStep::kCgroupNamespace);
  if (plan_.user_namespace) MapIds();
  Check(JailStep::kHostname, ::sethostname(plan_.hostname, std::strlen(plan_.hostname)));
  BuildRoot();
  int program = -1;
  if (Fork(JailStep::kFork, program) == 0) RunProgram();
  int children = WatchChildren(JailStep::kInitChildren);
  LetGoOfProgramsFds();
  Check(JailStep::kInitCapabilities, sys::RawDropCapabilities(0));
  Serve(program, children,
        {JailStep::kInitNoNewPrivileges, JailStep::kInitParentDeath, JailStep::kInitSeccomp});
}

}  // namespace

void RunJailInit(JailPlan& plan) { JailInit(plan).Run(); }

}  // namespace msb::jail
