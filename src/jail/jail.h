// SPDX-License-Identifier: Apache-2.0
// The jail around a program that a hostile guest may take over: QEMU, and msb-vmm.
//
//   supervisor --clone3--> jail init (PID 1 of a new PID namespace) --fork--> the program
//
// The init is a function of the caller's own program: no exec, no allocation. It builds a root of
// read-only binds, drops everything, starts the program, passes its wait status on and dies with
// the supervisor; the kernel kills what is left in the PID namespace. A wall that cannot be set up
// is an error that names the step; then nothing is left behind.

#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"
#include "jail/id_slot.h"
#include "jail/seccomp_compiler.h"
#include "jail/start_init.h"
#include "sys/cgroup.h"

namespace msb::jail {

// A file or directory of the host, seen read-only, nosuid and nodev in the jail. Symbolic links in
// `source` are followed before the root changes; `target` empty means the same path.
struct JailBind {
  std::string source;
  std::string target;
  bool executable = false;  // May be executed (Landlock); the program itself always may.
};

struct JailFd {
  int fd;      // Borrowed from the caller for the call.
  int number;  // What the program finds it under: 3 and up; 0 and 1 when the caller gives them.
};

struct JailLimits {
  uint64_t memory_bytes = 0;  // RLIMIT_AS, only where the cgroup does not limit memory.
  // RLIMIT_NPROC, counted for this jail alone. QEMU ends when it cannot make a thread, and its pool
  // for disk requests grows to 64 as the guest asks: never less than that and the processors.
  uint32_t pids = 160;
  uint32_t open_files = 256;
  uint64_t file_size_bytes = 0;  // RLIMIT_FSIZE; zero leaves it unlimited: disks are files.
};

enum class JailStep : uint8_t;  // jail/jail_plan.h

struct JailSpec {
  std::string name;     // Who this is for, in errors and as the host name: "qemu".
  std::string program;  // Absolute host path; bound at the same path.
  std::vector<std::string> argv;
  // Beside the program and its libraries, which are found and bound by themselves.
  std::vector<JailBind> binds;
  // Shared objects that the program loads by name, with what they need. QEMU's own are known.
  std::vector<std::string> plugins;
  std::vector<JailFd> fds;
  // Where fd 1 and 2 go; -1 makes a pipe for fd 2 (JailedProcess::stderr_pipe) and /dev/null for 1.
  int stdout_fd = -1;
  int stderr_fd = -1;
  JailLimits limits;
  const Filter* filter = nullptr;       // The program's from its first instruction on; required.
  const sys::Cgroup* cgroup = nullptr;  // The program and the init start in it.
  // Makes this step fail as if the kernel refused it, to prove that nothing is left behind.
  std::optional<JailStep> fail_at;
};

// What the start has set up, for the record: each wall is a step that refuses the start when it
// fails. What is in force later on, process_walls.h reads.
struct JailFacts {
  std::vector<std::string> walls;   // "ids", "user namespace", "mount namespace", "seccomp", ...
  std::vector<std::string> limits;  // "memory: cgroup", "memory: RLIMIT_AS", "pids: none (why)"
  uint32_t uid = 0, gid = 0;        // As the host sees the program.
  std::string ids;                  // "host-wide slot 12", "the user's own id"
  int landlock_abi = 0;
  std::vector<std::string> cgroups;  // Paths; empty when none.
};

struct JailedProcess {
  UniqueFd pidfd;        // The init; readable when everything in the jail has ended.
  UniqueFd status;       // How the program ended: ReapJailed().
  UniqueFd leash;        // Closing it ends the jail, as the supervisor's death does.
  UniqueFd stderr_pipe;  // Non-blocking read end, when no stderr_fd was given.
  std::optional<IdSlot> slot;
  JailFacts facts;
};

// The caller has one thread. Returns after the program's exec succeeded. There is no /proc and no
// /dev inside, and the environment is empty.
Result<JailedProcess> StartJailed(const JailSpec& spec);

// How the program ended. Call when pidfd is readable, or it waits.
Result<JailExit> ReapJailed(JailedProcess& process);

// Ends the jail at once; ReapJailed() still follows.
void KillJailed(JailedProcess& process);

}  // namespace msb::jail
