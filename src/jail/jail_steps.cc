// SPDX-License-Identifier: Apache-2.0
// Names and remedies of the jail's steps.

#include "jail/jail_steps.h"

#include <cerrno>

namespace msb::jail {

std::string_view StepName(JailStep step) {
  switch (step) {
    case JailStep::kDescriptors:
      return "move and close descriptors";
    case JailStep::kParentAlive:
    case JailStep::kInitParentDeath:
      return "tie to the supervisor's life";
    case JailStep::kEnterCgroup:
      return "enter the cgroup";
    case JailStep::kCgroupNamespace:
      return "unshare cgroup namespace";
    case JailStep::kSetgroups:
      return "write setgroups";
    case JailStep::kUidMap:
      return "write uid_map";
    case JailStep::kGidMap:
      return "write gid_map";
    case JailStep::kHostname:
      return "sethostname";
    case JailStep::kPrivateMounts:
      return "make mounts private";
    case JailStep::kRootFilesystem:
      return "mount tmpfs";
    case JailStep::kAttachRoot:
      return "attach the new root";
    case JailStep::kMakeTarget:
      return "make a place for";
    case JailStep::kOpenSource:
      return "open_tree";
    case JailStep::kSealSource:
      return "mount_setattr";
    case JailStep::kAttachSource:
      return "mount";
    case JailStep::kEnterRoot:
      return "pivot_root";
    case JailStep::kDetachHost:
      return "unmount the host's root";
    case JailStep::kSealRoot:
      return "make the root read-only";
    case JailStep::kFork:
      return "fork";
    case JailStep::kInitChildren:
      return "watch for ends of children";
    case JailStep::kInitCapabilities:
    case JailStep::kBoundingSet:
    case JailStep::kCapabilities:
      return "drop capabilities";
    case JailStep::kInitNoNewPrivileges:
    case JailStep::kNoNewPrivileges:
      return "set no_new_privs";
    case JailStep::kInitSeccomp:
    case JailStep::kSeccomp:
      return "install the seccomp filter";
    case JailStep::kSession:
      return "setsid";
    case JailStep::kLimits:
      return "setrlimit";
    case JailStep::kOpenProgram:
      return "open";
    case JailStep::kPlaceDescriptors:
      return "place descriptors";
    case JailStep::kSetIds:
      return "change ids";
    case JailStep::kLandlock:
      return "confine with Landlock";
    case JailStep::kExec:
      return "execute";
    case JailStep::kCount:
      break;
  }
  return "unknown step";
}

bool StepNamesBind(JailStep step) {
  return step == JailStep::kMakeTarget || step == JailStep::kOpenSource ||
         step == JailStep::kSealSource || step == JailStep::kAttachSource;
}

std::string_view StepRemedy(JailStep step, int err) {
  bool refused = err == EPERM || err == EACCES;
  switch (step) {
    case JailStep::kSetgroups:
    case JailStep::kUidMap:
    case JailStep::kGidMap:
    case JailStep::kHostname:
    case JailStep::kPrivateMounts:
    case JailStep::kRootFilesystem:
    case JailStep::kAttachRoot:
    case JailStep::kOpenSource:
    case JailStep::kSealSource:
    case JailStep::kAttachSource:
    case JailStep::kEnterRoot:
      if (err == ENOSYS) return "Linux 5.12 or newer is needed";
      return refused
                 ? "the host forbids mounts in namespaces: in a container, give it the right to "
                   "(--privileged, or a seccomp profile that allows mount); on Ubuntu, see "
                   "kernel.apparmor_restrict_unprivileged_userns"
                 : "";
    case JailStep::kSetIds:
      return err == EINVAL ? "root here has no ids above 2,080,000,000: run as an ordinary user"
                           : "";
    case JailStep::kExec:
      return err == EACCES ? "the program, or the file system it lies on, may not be executed" : "";
    case JailStep::kDescriptors:
      return err == EINVAL || err == EMFILE ? "raise the limit of open files (ulimit -n)" : "";
    case JailStep::kParentAlive:
    case JailStep::kEnterCgroup:
    case JailStep::kCgroupNamespace:
    case JailStep::kMakeTarget:
    case JailStep::kDetachHost:
    case JailStep::kSealRoot:
    case JailStep::kFork:
    case JailStep::kInitChildren:
    case JailStep::kInitCapabilities:
    case JailStep::kInitNoNewPrivileges:
    case JailStep::kInitParentDeath:
    case JailStep::kInitSeccomp:
    case JailStep::kSession:
    case JailStep::kLimits:
    case JailStep::kOpenProgram:
    case JailStep::kPlaceDescriptors:
    case JailStep::kBoundingSet:
    case JailStep::kCapabilities:
    case JailStep::kNoNewPrivileges:
    case JailStep::kLandlock:
    case JailStep::kSeccomp:
    case JailStep::kCount:
      break;
  }
  return "";
}

}  // namespace msb::jail
