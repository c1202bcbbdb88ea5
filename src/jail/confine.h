// SPDX-License-Identifier: Apache-2.0
// Confinement that a process puts on itself, for good: after these calls it can only do what its
// job still needs. Open everything first. One thread at the call; all walls or an error, and after
// an error the process should end: some walls may stand already.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/cgroup.h"

namespace msb::jail {

// What was set up, for the record; what is in force later on, process_walls.h reads.
struct ConfinementFacts {
  std::vector<std::string> walls;  // "no_new_privs", "capabilities", "landlock", "seccomp"
  int landlock_abi = 0;
};

// The supervisor: reads a hostile guest's frames. Its sockets, epoll, timers, pidfds and logs are
// open; it accepts and serves connections, writes its record, kills and reaps what it started,
// empties and removes its cgroups. It never again starts a process, makes a socket or changes a
// mount. It signals through pidfds only; abort() ends it by SIGSYS.
struct SupervisorConfinement {
  int record_dir = -1;   // Read, write, make, rename, remove files and directories beneath.
  int records_dir = -1;  // Its parent: rmdir of empty directories. -1: none.
  int names_dir = -1;    // Unlinking of links to records. -1: none.
  std::vector<const sys::Cgroup*> cgroups;
  uint64_t open_files = 1024;
};
Result<ConfinementFacts> ConfineSupervisor(const SupervisorConfinement& spec);

// The unpacker of images (msb-image): dynamic, with libarchive, zlib, zstd and OpenSSL's digests.
// Reads below the source, writes below the target, no network, no new program; threads are fine
// afterwards.
struct UnpackerConfinement {
  std::vector<int> sources;  // Directories or files, opened (O_PATH is enough): read beneath.
  std::vector<int> targets;  // Directories: make, write, rename and remove anything beneath.
  // What its libraries load late; those that are not there are skipped.
  std::vector<std::string> libraries = {"/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache",
                                        "/etc/ssl/openssl.cnf"};
  uint64_t keep_capabilities = 0;  // Bits 1 << CAP_CHOWN ...: what unpacking as root needs.
  uint64_t open_files = 256;
};
Result<ConfinementFacts> ConfineUnpacker(const UnpackerConfinement& spec);

}  // namespace msb::jail
