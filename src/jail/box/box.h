// SPDX-License-Identifier: Apache-2.0
// A process sandbox: the host's kernel, behind namespaces, seccomp, Landlock and few capabilities.
//
//   microbox --clone3--> init (PID 1 of a new PID namespace) --fork--> the command
//
// The init is a function of the caller's own program: no exec, no allocation. It builds the root,
// enters it, starts the command, reaps what ends, passes signals on, tells how the command ended
// and dies with the caller; the kernel kills what is left in the PID namespace. A wall that cannot
// be set up is an error that names the step; then nothing is left behind.
//
// A command that is an init itself takes the place of ours (Spec::command_is_init): the same
// process, the same walls, and one exec at the end of the set-up. It dies with the caller too, and
// is to end when its own channel does: the leash is not held by anybody then.
//
// Run by root, ids inside are a host-wide range of 65 536 that nobody else has; root trees and
// binds are ID-mapped mounts, so what root owns outside root owns inside. Run by an ordinary user,
// root inside is that user, and all else his subordinate ids where there are any
// (Spec::subordinate_ids); else his is the one id inside.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/box/plan.h"
#include "jail/box/spec.h"
#include "jail/id_slot.h"
#include "jail/start_init.h"

namespace msb::box {

// What is in force, for the status record.
struct Facts {
  std::vector<std::string> walls;   // "user namespace", "seccomp", ...
  std::vector<std::string> limits;  // "memory: cgroup", "pids: none (why)"
  std::string ids;                  // "65536 from 2013265920", "the user's own id 1000 as 0"
  // What an ordinary user lacks to have more than one id, and what to do; empty: nothing.
  std::string one_id_because, more_ids_remedy;
  std::vector<std::string>
      unmapped;  // Mounts whose file systems cannot map ids: read-only, of nobody.
  int landlock_abi = 0;
};

struct Running {
  UniqueFd pidfd;     // The init; readable when everything in the sandbox has ended.
  UniqueFd status;    // How the command ended: Reap().
  UniqueFd leash;     // Closing it ends the sandbox, as the caller's death does.
  UniqueFd terminal;  // Our side of the sandbox's terminal, where there is one: to be taken.
  bool has_terminal = false;
  UniqueFd listener;  // Calls that the filter asks about, where it does: to be taken.
  bool command_is_init = false;
  std::optional<jail::IdSlot> range;
  UniqueFd ids_lock;  // Of a user's own part of his subordinate ids.
  Facts facts;
  // The command could not be executed: kNotFound, else kPermissionDenied. The init has ended.
  std::optional<Error> exec_error;
};

// The caller has one thread. Returns after the command's exec.
Result<Running> Start(const Spec& spec, std::optional<Step> fail_at = std::nullopt);

// To the command's process group. Not for a command that is the init.
Result<void> Signal(const Running& running, int signal);
// Ends the sandbox at once; Reap() still follows.
void Kill(Running& running);

using Exit = jail::JailExit;
// Call when pidfd is readable, or it waits.
Result<Exit> Reap(Running& running);

}  // namespace msb::box
