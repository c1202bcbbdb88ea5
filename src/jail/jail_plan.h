// SPDX-License-Identifier: Apache-2.0
// What the parent hands to the jail's init: everything worked out beforehand, so that the init only
// makes system calls. Pointers lead into memory of the parent, of which the init has a copy.

#pragma once

#include <cstdint>
#include <span>

#include "jail/id_maps.h"
#include "jail/init_plan.h"

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
  kInitChildren,
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

struct JailPlan : InitPlan {
  const char* hostname;
  const char* root_options;  // The tmpfs's size.
  std::span<const PlannedBind> binds;
  const char* program;  // Below the new root.
  char* const* argv;

  bool user_namespace;  // With `id_maps`; else ids change to `uid` and `gid`.
  IdMapFiles id_maps;
};

// SAFETY: for the child of a single-threaded parent; system calls only. Never returns.
[[noreturn]] void RunJailInit(JailPlan& plan);

}  // namespace msb::jail
