// SPDX-License-Identifier: Apache-2.0
// Starting the main process of an exec: everything is prepared here, then one clone3() in the
// manner of vfork whose child only makes system calls.

#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/users.h"
#include "base/fd.h"
#include "protocol/messages.h"

namespace msb::agent {

struct SpawnPlan {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::vector<std::string> paths;  // Tried in turn, as execvp() does.
  std::string workdir;
  Identity identity;
  std::array<int, 3> stdio = {-1, -1, -1};  // All above 2.
  bool terminal = false;                    // stdio[0] becomes the controlling terminal.
  int cgroup_fd = -1;
};

// Completes argv, env, paths and workdir from what was asked.
SpawnPlan MakePlan(const protocol::ExecSpec& spec, Identity identity);

enum class SpawnStep : uint8_t {
  kNone,
  kClone,
  kSession,
  kTerminal,
  kStdio,
  kWorkdir,
  kUser,
  kLimits,
  kExec
};

struct Spawned {
  pid_t pid = -1;  // -1: failed at `step` with `error`.
  SpawnStep step = SpawnStep::kNone;
  int error = 0;
  // A path of the plan exists, though none could be executed.
  bool found = false;
  // There are no other ids here to change to.
  bool one_id = false;
};

// The memory that children start on; one for all, as only one runs at a time until its exec.
class Spawner {
 public:
  Spawner();
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  // Returns after the child's exec, or its failure: the caller stands still that long.
  Spawned Spawn(const SpawnPlan& plan);

 private:
  void* stack_;
  // A user namespace of an ordinary user, who has no right to give up groups.
  bool one_id_;
  // A filter that cannot see clone3's flags answers ENOSYS, as an old kernel would.
  bool clone3_works_ = true;
};

// What the host is told of a failure.
protocol::ExecFailed Describe(const Spawned& failed, const SpawnPlan& plan);

}  // namespace msb::agent
