// SPDX-License-Identifier: Apache-2.0
// The agent as the first process of a process sandbox. Root, /proc, /dev, names and every wall are
// there before it starts, and hold it as they hold its execs; what is left is to serve its channel,
// to reap, and to end.

#pragma once

namespace msb::agent {

struct SandboxedOptions {
  // The `oom_kill` count of the sandbox's cgroup (exec_group.h); -1: none.
  int memory_events = -1;
};

// The first process only. The channel is descriptor 0, a stream socket whose end is the sandbox's;
// 1 and 2 are where complaints go. Does not return: exit 0 after a goodbye, 1 without.
[[noreturn]] void RunSandboxed(const SandboxedOptions& options);

}  // namespace msb::agent
