// SPDX-License-Identifier: Apache-2.0
// What the parent hands to the sandbox's init: everything worked out beforehand, so that the init
// only makes system calls. Pointers lead into memory of the parent, of which the init has a copy.

#pragma once

#include <sys/ioctl.h>

#include <cstdint>
#include <span>

#include "jail/box/spec.h"
#include "jail/init.h"

namespace msb::box {

// In the order in which they happen; StepName() says them in words.
enum class Step : uint8_t {
  kDescriptors,
  kParentAlive,
  kNetwork,
  kLoopback,
  kWaitForParent,
  kEnterCgroup,
  kCgroupNamespace,
  kTimeNamespace,
  kIds,
  kKeyring,
  kHostname,
  kPrivateMounts,
  kStorage,
  kRootTree,
  kOverlay,
  kEnterRoot,
  kProc,
  kProcWall,
  kSys,
  kDev,
  kTemporary,
  kEtc,
  kBindTarget,
  kBindSource,
  kBindAttach,
  kMemory,
  kLinks,
  kTerminal,
  kDetachHost,
  kReadOnly,
  kFork,
  // In the init, after the fork.
  kInitConfine,
  // In the command's process.
  kSession,
  kPlaceDescriptors,
  kLimits,
  kDirectory,
  kCapabilities,
  kUser,
  kNoNewPrivileges,
  kLandlock,
  kSeccomp,
  kExec,
  kCount,
};

struct PlannedBind {
  const char* source;  // Opened by the init where the parent did not send it.
  const char* target;
  bool directory;
  bool writable;
  bool sent;  // The parent opened and ID-mapped it: the next of the descriptors that came.
};

struct PlannedMemory {
  const char* target;
  const char* size;  // As tmpfs takes it.
};

struct PlannedFile {
  const char* path;  // Below the root, without a leading slash, in a directory that is made.
  const char* text;
  bool only_if_missing;
};

struct PlannedLink {
  const char* directory;
  const char* name;
  const char* target;
};

inline constexpr size_t kMaxSentTrees = 192;
inline constexpr size_t kFdsAtOnce = 16;  // In one message.
inline constexpr size_t kMaxKeptFds = 32;

// What comes over the leash, a byte each: kDoors, or nothing, with those of a version 1 cgroup, as
// InitPlan::cgroup_doors; kTrees with descriptors, as often as it takes; kGo; then signals to pass
// on.
inline constexpr char kGo = 0;
inline constexpr char kTrees = 1;
inline constexpr char kDoors = 4;
// The other way, each once with a descriptor: the terminal's other side; from the command's
// process, what its filter asks by.
inline constexpr char kTerminal = 2;
inline constexpr char kListener = 3;

struct Plan : jail::InitPlan {
  RootKind root;
  const char* root_directory;
  bool root_sent;  // The first of the descriptors that came is the root's tree.
  bool read_only;
  const char* storage;  // As tmpfs takes it.
  std::span<const PlannedBind> binds;
  std::span<const PlannedMemory> memories;
  std::span<const PlannedFile> files;
  std::span<const PlannedLink> links;

  bool own_network;
  bool makes_network;  // The init does, while its parent makes the cgroup; else it was cloned so.
  bool own_users;
  bool drop_groups;  // The id map lets us.
  bool own_time;
  const char* time_offsets;
  const char* terminal_group;  // Of terminals: "5" where that is mapped.
  const char* hostname;

  std::span<char> own_words;  // What /proc/1/cmdline would show.
  bool command_is_init;
  bool terminal;
  winsize terminal_size;
  bool terminal_streams[3];  // Which of 0, 1 and 2 it takes the place of.
  int terminal_fd;           // The command's side: the init's to fill.
  const char* directory;
  uint64_t capabilities;
  std::span<const char* const> candidates;  // Paths to try, in this order.
  char* const* argv;
  char* const* environment;
  bool listen;  // The filter asks: its listener goes to the parent.
};

// SAFETY: for the child of a single-threaded parent; system calls only. Never returns.
[[noreturn]] void RunInit(Plan& plan);

// Builds the root and enters it: root.cc. `trees`: what the parent sent.
void BuildRoot(const Plan& plan, std::span<const int> trees, jail::Init& init);

}  // namespace msb::box
