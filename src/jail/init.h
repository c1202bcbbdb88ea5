// SPDX-License-Identifier: Apache-2.0
// What the init of a jail and that of a process sandbox do alike, each step under the name that the
// caller gives it.
//
// SAFETY: for the child of a single-threaded parent, between clone and exec: system calls only,
// nothing is allocated. A call that fails is reported as {step, errno, index} and ends the process;
// the kernel then takes the namespaces away, and with them every mount.

#pragma once

#include <cstdint>

#include "jail/init_plan.h"

namespace msb::jail {

class Init {
 public:
  // `rc` as system calls answer: -1 and errno. Does not return when it failed.
  void Check(StepNumber step, long rc, uint32_t index = 0);
  [[noreturn]] void Fail(StepNumber step, uint32_t index = 0);

 protected:
  explicit Init(InitPlan& plan) : common_(plan) {}
  ~Init() = default;

  // Signals as a new program has them; of the parent's descriptors those of the plan alone, at
  // kFirstInitFd and above: what the caller had open (records, other sandboxes' channels) must not
  // be found in here.
  void Begin(StepNumber descriptors);
  // PDEATHSIG is lost at a change of ids, and says nothing of a parent that died before it was set:
  // to be called first, and after each change.
  void DieWithParent(StepNumber step);
  // By ourselves: to be moved by another process would wait for a grace period of RCU, 6 to 14 ms
  // on an idle host. Then a cgroup namespace whose root is that cgroup: clone would take the
  // parent's for it.
  void EnterCgroup(StepNumber enter, StepNumber own_namespace);
  void WriteFile(StepNumber step, int directory, const char* path, const char* text);
  void TakeIds(StepNumber step, bool drop_groups, uid_t uid, gid_t gid);
  // Its number, 0 in the program's process.
  long Fork(StepNumber step, int& pidfd);
  void PlaceDescriptors(StepNumber step);
  void SetLimits(StepNumber step);

  // The descriptor by which the init hears of children that end, whose signal is then blocked.
  int WatchChildren(StepNumber step);
  // When the program has its process: closes what is the program's here.
  void LetGoOfProgramsFds();
  struct ServeSteps {
    StepNumber no_new_privileges, parent_death, seccomp;
  };
  // At last, with no more capabilities than it needs: behind its own filter, reaps whatever ends,
  // passes signals on to the program's group where the plan says so, tells how the program ended.
  // Ends with it, or when the leash is let go; the kernel then kills all that is left.
  [[noreturn]] void Serve(int program, int children, const ServeSteps& steps);

  InitPlan& common_;
};

// Makes the mount `root` the root, and lets go of the host's: of `layers` mounts that lie over it
// afterwards, each with all that is below. Nothing of the host may stay above: a lookup of "/.."
// would find it there.
void EnterRoot(Init& init, StepNumber enter, StepNumber detach, int root, int layers);

}  // namespace msb::jail
