// SPDX-License-Identifier: Apache-2.0
// A name and a remedy for each step.

#include "jail/box/steps.h"

#include <cerrno>

#include "base/text.h"

namespace msb::box {

std::string_view StepName(Step step) {
  switch (step) {
    case Step::kDescriptors:
      return "sort descriptors";
    case Step::kParentAlive:
      return "watch the parent";
    case Step::kNetwork:
      return "network namespace";
    case Step::kLoopback:
      return "raise the loopback";
    case Step::kWaitForParent:
      return "wait for the parent";
    case Step::kEnterCgroup:
      return "enter the cgroup";
    case Step::kCgroupNamespace:
      return "cgroup namespace";
    case Step::kTimeNamespace:
      return "time namespace";
    case Step::kIds:
      return "take ids";
    case Step::kKeyring:
      return "session keyring";
    case Step::kHostname:
      return "set the host name";
    case Step::kPrivateMounts:
      return "make mounts private";
    case Step::kStorage:
      return "make the storage";
    case Step::kRootTree:
      return "open the root";
    case Step::kOverlay:
      return "overlay on the root";
    case Step::kEnterRoot:
      return "enter the root";
    case Step::kProc:
      return "mount /proc";
    case Step::kProcWall:
      return "seal /proc";
    case Step::kSys:
      return "mount /sys";
    case Step::kDev:
      return "make /dev";
    case Step::kTemporary:
      return "make the first directories";
    case Step::kEtc:
      return "write";
    case Step::kBindTarget:
      return "make the place of bind";
    case Step::kBindSource:
      return "open bind";
    case Step::kBindAttach:
      return "attach bind";
    case Step::kMemory:
      return "make a directory in memory";
    case Step::kLinks:
      return "link the loader";
    case Step::kTerminal:
      return "make a terminal";
    case Step::kDetachHost:
      return "let go of the host's root";
    case Step::kReadOnly:
      return "seal the root";
    case Step::kFork:
      return "fork";
    case Step::kInitConfine:
      return "confine the init";
    case Step::kSession:
      return "start a session";
    case Step::kPlaceDescriptors:
      return "place descriptors";
    case Step::kLimits:
      return "set limits";
    case Step::kDirectory:
      return "change to directory";
    case Step::kCapabilities:
      return "drop capabilities";
    case Step::kUser:
      return "change the user";
    case Step::kNoNewPrivileges:
      return "set no_new_privs";
    case Step::kLandlock:
      return "landlock";
    case Step::kSeccomp:
      return "seccomp";
    case Step::kExec:
      return "execute";
    case Step::kCount:
      break;
  }
  return "unknown step";
}

std::string_view StepRemedy(Step step, int err) {
  if ((step == Step::kProc || step == Step::kSys) && err == EPERM)
    return "the host hides parts of its own /proc or /sys, as containers do: run it outside the "
           "container, or in one started with --privileged";
  if (step == Step::kOverlay && err == EINVAL)
    return "overlay does not stack on this file system: copy the root to another";
  if (step == Step::kFork && err == EAGAIN)
    return "allow more processes (--pids): the sandbox's init counts as one";
  if (step == Step::kUser)
    return "the sandbox has no such id: leave --user out; microbox --doctor says which it has";
  if (step == Step::kDirectory) return "--workdir names a directory in the sandbox";
  if (step == Step::kBindTarget)
    return "the place is a link that leads nowhere, or a file where a directory must be";
  return "";
}

Error ExecError(const Spec& spec, int err) {
  const std::string& name = spec.argv[0];
  if (err == ENOENT && spec.root == RootKind::kEmpty && spec.binds.empty())
    return Error(Code::kNotFound, "the sandbox's root is empty")
        .Remedy("add --fs DIR, or --mount-ro /bin:/bin --mount-ro /lib:/lib");
  if (err == ENOENT)
    return Error(Code::kNotFound, Cat(Escape(name, 256), ": command not found"))
        .Remedy(spec.root == RootKind::kEmpty
                    ? "the sandbox has what --mount-ro and --mount-rw give it: its loader and "
                      "libraries too"
                    : "");
  return Error(Code::kPermissionDenied,
               Cat(Escape(name, 256), ": cannot be executed: ", std::string(strerrordesc_np(err))));
}

}  // namespace msb::box
