// SPDX-License-Identifier: Apache-2.0
// What a process sandbox is to be. Values are valid when they come here: programs check what users
// type.

#pragma once

#include <sys/ioctl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/units.h"
#include "jail/init_plan.h"
#include "jail/seccomp_compiler.h"
#include "jail/subordinate_ids.h"
#include "sys/cgroup.h"

namespace msb::box {

enum class RootKind : uint8_t {
  kEmpty,      // A tmpfs with nothing but what every sandbox has.
  kDirectory,  // A directory of the host below, a tmpfs above: what is written is thrown away.
  kHost,       // The host's own tree. Writes reach the host.
};

enum class NetMode : uint8_t {
  kNone,  // A network namespace with its loopback up, and what Spec::network gives it.
  kHost,
};

enum class UserMode : uint8_t {
  kIsolated,  // A user namespace: no task inside has host id 0.
  kHost,      // None: ids inside are the host's. Root only.
};

// What becomes of a system call that the policy refuses.
enum class OnRefusal : uint8_t {
  kAnswer,  // The filter answers by itself.
  kAsk,     // Whoever holds Running::listener answers, with the policy's errno.
  kLearn,   // As kAsk, and the answer may be to carry it out: seccomp is no wall then.
};

struct Bind {
  std::string source;  // On the host; links are followed.
  std::string target;  // Absolute, in the sandbox; resolved beneath its root.
  bool writable = false;
};

// An empty directory in memory.
struct Memory {
  std::string target;  // As a bind's.
  uint64_t bytes = 64 * kMiB;
};

using jail::ResourceLimit;

// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
// SYS_CHROOT and SETFCAP: what apt, su and servers need; within the sandbox's user namespace.
extern const uint64_t kDefaultCapabilities;

struct Spec {
  RootKind root = RootKind::kEmpty;
  std::string root_directory;  // Of kDirectory.
  bool read_only = false;
  uint64_t storage_bytes = 512 * kMiB;  // Of the tmpfs that takes the writes.
  std::vector<Bind> binds;              // In the order in which they are attached.

  std::vector<Memory> memories;  // After the binds.

  NetMode net = NetMode::kNone;
  UserMode users = UserMode::kIsolated;
  // Run by an ordinary user: the ids that /etc/subuid and /etc/subgid give him, too, where there
  // are any and they can be mapped; Facts::one_id_because says why not.
  bool subordinate_ids = false;
  // The same, and no others than these, shared: those that the root's files have. Where they cannot
  // be mapped, nothing starts.
  std::optional<jail::SubordinateSpan> these_ids;
  std::string hostname;
  std::vector<std::string> dns;
  // Called once, with the sandbox's network namespace and the user namespace that owns it, when
  // nothing in it runs: whatever is to be between it and the world. Its error ends the start.
  std::function<Result<void>(BorrowedFd network, BorrowedFd users)> network;

  std::vector<std::string> argv;              // A name without a slash is looked up in PATH.
  std::vector<std::string> environment;       // "KEY=VALUE", all of it.
  std::span<char> own_words;                  // Of this process, argv[0] and on: the init has none.
  std::string directory = "/";                // Where the command starts.
  uint32_t uid = 0, gid = 0;                  // Who it is, inside.
  uint64_t capabilities = 0;                  // Bits; in effect for uid 0 only.
  const jail::Filter* filter = nullptr;       // Required.
  OnRefusal on_refusal = OnRefusal::kAnswer;  // As the filter was compiled.
  std::vector<ResourceLimit> limits;
  std::array<int, 3> streams{0, 1, 2};  // The command's stdin, stdout and stderr.
  // A terminal of the sandbox's own, of this size, in the place of those streams that are
  // terminals. The command controls it, and nothing of the caller's terminal is inside.
  std::optional<winsize> terminal;
  std::vector<int> keep_fds;            // Beside 0, 1 and 2, at the same numbers.
  const sys::Cgroup* cgroup = nullptr;  // Init and command start in it.
  // In its place, for one of version 1, or for none in the end: called while the init makes its
  // network namespace, which takes as long. Its error ends the start.
  std::function<Result<const sys::Cgroup*>()> make_cgroup;
  // The command is PID 1 itself, for one that reaps: there is no init of ours beside it.
  bool command_is_init = false;
};

}  // namespace msb::box
