// SPDX-License-Identifier: Apache-2.0
// What the parent hands to the jail's init: everything worked out beforehand, so that the init only
// makes system calls. Pointers lead into memory of the parent, of which the init has a copy.

#pragma once

#include <linux/filter.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <span>

namespace msb::jail {

// In the order in which they happen; StepName() says them in words.
enum class JailStep : uint8_t {
  kDescriptors,
  kParentAlive,
  kEnterCgroup,
  kCgroupNamespace,
  kSetgroups,
  kUidMap,
  kGidMap,
  kHostname,
  kPrivateMounts,
  kRootFilesystem,
  kAttachRoot,
  kMakeTarget,
  kOpenSource,
  kSealSource,
  kAttachSource,
  kEnterRoot,
  kDetachHost,
  kSealRoot,
  kFork,
  // In the init, after the fork.
  kInitCapabilities,
  kInitNoNewPrivileges,
  kInitParentDeath,
  kInitSeccomp,
  // In the program's process.
  kSession,
  kLimits,
  kOpenProgram,
  kPlaceDescriptors,
  kBoundingSet,
  kSetIds,
  kCapabilities,
  kNoNewPrivileges,
  kLandlock,
  kSeccomp,
  kExec,
  kCount,
};

struct PlannedBind {
  const char* source;  // Absolute on the host, links resolved.
  const char* target;  // Without the leading slash: below the new root.
  bool directory;
  bool executable;
};

struct PlannedFd {
  int fd;      // Where the init finds it; the init moves it and writes the new number here.
  int number;  // Where the program finds it.
};

struct PlannedLimit {
  int resource;
  rlimit value;
};

// One report by the child, then it exits; nothing but end of file when the program was started.
struct JailReport {
  JailStep step;
  int32_t error;
  uint32_t index;  // Which bind, limit or descriptor.
};

// Descriptors that the program is given lie below this, and the init's own above.
inline constexpr int kMaxProgramNumber = 199;
inline constexpr int kFirstInitFd = 260;
// Version 1 hierarchies with a controller for limits: three at most.
inline constexpr size_t kMaxDoors = 8;

struct JailPlan {
  const char* hostname;
  const char* root_options;  // The tmpfs's size.
  std::span<const PlannedBind> binds;
  std::span<PlannedFd> fds;  // 0, 1 and 2 among them.
  std::span<const PlannedLimit> limits;
  const char* program;  // Below the new root.
  char* const* argv;
  const sock_filter* filter;
  unsigned short filter_length;
  const sock_filter* init_filter;
  unsigned short init_filter_length;
  int landlock_abi;

  bool user_namespace;  // Else ids change to `uid` and `gid`.
  const char* uid_map;  // "1000 1000 1\n"
  const char* gid_map;
  uid_t uid;
  gid_t gid;
  // Of version 1 cgroups: the init writes "0" into each and is in there. Empty: it was cloned into
  // its cgroup and its cgroup namespace.
  std::span<int> cgroup_doors;

  int report;  // Write ends and read ends as the parent numbered them.
  int status;
  int leash;
  int parent_pidfd;
  int slot_lock;  // -1: none. Held by the init too, so that the id is free only when all is over.
  int fail_at;    // A JailStep that must fail (tests), or -1.
};

// SAFETY: for the child of a single-threaded parent; system calls only. Never returns.
[[noreturn]] void RunJailInit(JailPlan& plan);

}  // namespace msb::jail
