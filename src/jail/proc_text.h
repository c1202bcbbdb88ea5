// SPDX-License-Identifier: Apache-2.0
// What the kernel writes of a process in /proc, read strictly (proc(5)). The names in it are chosen
// by the process, which may be in a guest's hands: a field that comes twice or is no number is an
// error, never the first or the last of two.

#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace msb::jail {

// Of /proc/PID/status or /proc/PID/task/TID/status. A field that this kernel does not have is empty
// and says nothing.
struct TaskStatus {
  std::string name;  // Escaped.
  std::optional<pid_t> parent;
  using Ids = std::array<uint32_t, 4>;  // Real, effective, saved, of the file system.
  std::optional<Ids> uids, gids;
  std::optional<std::vector<uint32_t>> groups;
  std::optional<uint64_t> inheritable, permitted, effective, bounding, ambient;  // 1 << CAP_...
  std::optional<uint64_t> no_new_privileges;
  std::optional<uint64_t> seccomp_mode;     // 0 none, 1 strict, 2 filters.
  std::optional<uint64_t> seccomp_filters;  // How many; Linux 5.9.
};
Result<TaskStatus> ParseTaskStatus(std::string_view text);

// A line of /proc/PID/limits: "Max open files". Unlimited is empty.
struct ProcessLimit {
  std::string name;
  std::optional<uint64_t> soft, hard;
  std::string unit;  // "bytes"; empty where there is none.
};
Result<std::vector<ProcessLimit>> ParseProcessLimits(std::string_view text);

// A line of /proc/PID/mountinfo, as the process sees its tree.
struct ProcessMount {
  std::string at;  // Escaped by the kernel: "/a\040b".
  std::string type;
  bool read_only = false;  // The mount, whatever the file system beneath could.
  bool no_setuid = false;
  bool no_devices = false;
};
Result<std::vector<ProcessMount>> ParseProcessMounts(std::string_view text);

}  // namespace msb::jail
