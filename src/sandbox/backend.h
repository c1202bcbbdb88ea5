// SPDX-License-Identifier: Apache-2.0
// Backend: what a supervisor needs of a machine, whatever it is made of: QEMU, our own VMM, or a
// process sandbox. The supervisor opens everything; a backend gets descriptors and two paths.
//
//   Prepare -> Start -> Watch -> ... OnMachineEnded -> Cleanup
//                         Stop (at any time after Start)
//
// Of the architecture's eight verbs three are not here, because nothing calls them yet: Recover
// (what a dead supervisor leaves is a cgroup and a record, which CollectGarbage() removes for every
// backend alike), Update and Stats (the cgroup has both).

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "jail/subordinate_ids.h"
#include "sys/cgroup.h"

namespace msb::sandbox {

struct MachineSpec {
  uint32_t cpus = 1;
  uint64_t memory_bytes = 0;
  std::string kernel;
  std::string initramfs;
  bool verbose_console = false;
  // Of a process sandbox: the agent's program, its name, and the tmpfs that takes the writes.
  std::string agent;
  std::string hostname;
  uint64_t storage_bytes = 0;
  // Of an ordinary user's: as RootSource has them; of no ids the count is 0.
  jail::SubordinateSpan ids = {};
  bool any_ids = false;
  std::string one_id_because = "";
};

struct MachineDescriptors {
  UniqueFd root_disk;   // Read-only EROFS; of a process sandbox the directory of its root tree.
  UniqueFd upper_disk;  // Writable ext4; not of a process sandbox.
  UniqueFd agent;       // The machine's end of the agent channel: a stream socket.
  UniqueFd console;     // The machine's end of the guest's console: a stream socket.
  const sys::Cgroup* cgroup = nullptr;
};

// What its start has set up.
struct MachineFacts {
  std::vector<std::string> walls;
  std::vector<std::string> limits;
  std::string ids;
  uint32_t uid = 0;
};

struct MachineEnd {
  // For the user, escaped: "QEMU was killed by signal 9", and what it wrote to stderr.
  std::string detail;
  // It ended as a machine does whose guest has reset or powered off.
  bool by_guest = false;
};

class Backend {
 public:
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // Nothing of the machine runs any more. Once.
    virtual void OnMachineEnded(const MachineEnd& end) = 0;
    // A write to the upper disk failed because the host's file system is full; the machine waits.
    virtual void OnHostStorageFull() = 0;
    // The guest's end of the agent channel was closed or opened.
    virtual void OnGuestChannel(bool open) = 0;
  };

  virtual ~Backend() = default;
  // What Start() will need is there; nothing is made.
  virtual Result<void> Prepare(const MachineSpec& spec) = 0;
  // The machine runs, behind all of its walls, when this returns.
  virtual Result<MachineFacts> Start(MachineDescriptors descriptors) = 0;
  virtual Result<void> Watch(event::Loop& loop, Watcher& watcher) = 0;
  // Ends it at once. OnMachineEnded follows.
  virtual void Stop() = 0;
  // After OnMachineEnded: gives back what Start() took. Idempotent.
  virtual void Cleanup() = 0;
};

// `tsc_khz`: see HostTscKhz().
std::unique_ptr<Backend> MakeQemuBackend(uint64_t tsc_khz);

// `program`: the path of msb-vmm.
std::unique_ptr<Backend> MakeVmmBackend(std::string program);

// A process sandbox (jail/box), whose first process is msb-agent.
std::unique_ptr<Backend> MakeProcessBackend();

// What the host spends on a machine, the guest's memory included, for the cgroup.
uint64_t QemuMemoryLimit(uint64_t guest_bytes);
uint64_t VmmMemoryLimit(uint64_t guest_bytes);
uint64_t ProcessMemoryLimit(uint64_t sandbox_bytes);

}  // namespace msb::sandbox
