// SPDX-License-Identifier: Apache-2.0
// Confinement that a process puts on itself, for good: after these calls it can only do what its
// job still needs. Open everything first.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::jail {

// What is in force, for the record.
struct ConfinementFacts {
  std::vector<std::string> walls;  // "no_new_privs", "capabilities", "landlock", "seccomp"
  int landlock_abi = 0;
};

// The supervisor: reads a hostile guest's frames. Its sockets, epoll, timers, pidfds and logs are
// open; it accepts and serves connections, writes its record, kills and reaps what it started,
// removes its cgroup. It never again starts a process, opens a socket or changes a mount.
// One thread; the process must not be multi-threaded at the call.
struct SupervisorConfinement {
  int record_dir = -1;                   // Read, write, make, rename, remove beneath.
  std::vector<std::string> cgroup_dirs;  // Parents of the cgroup directories: write, rmdir.
  uint64_t open_files = 1024;
};
Result<ConfinementFacts> ConfineSupervisor(const SupervisorConfinement& spec);

// The unpacker of images (msb-image): dynamic, with libarchive, zlib, zstd and OpenSSL's digests.
// Reads below the source, writes below the target, no network, no new program.
struct UnpackerConfinement {
  int source = -1;  // Directory or file, opened (O_PATH is enough); -1 when bytes come by a fd.
  int target_dir = -1;
  uint64_t keep_capabilities = 0;  // Bits 1 << CAP_CHOWN ...: what unpacking as root needs.
  uint64_t open_files = 256;
};
Result<ConfinementFacts> ConfineUnpacker(const UnpackerConfinement& spec);

}  // namespace msb::jail
