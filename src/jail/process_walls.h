// SPDX-License-Identifier: Apache-2.0
// What the kernel says of the walls around a running process: read from outside, by anybody whom
// ptrace(2)'s access check lets look (the same user; root with CAP_SYS_PTRACE). No constant of ours
// is in here, and what could not be read is an error that says why.
//
// Not to be seen from outside at all: another process's Landlock domain, its securebits, and which
// filters its seccomp mode 2 runs (PTRACE_SECCOMP_GET_FILTER stops the thread and needs
// CAP_SYS_ADMIN): their number is.

#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/policies.h"
#include "jail/proc_text.h"

namespace msb::jail {

struct ThreadWalls {
  pid_t tid = 0;
  TaskStatus status;
};

// By kind, as proc(5) names them ("mnt"): "mnt:[4026531841]".
using Namespaces = std::map<std::string, std::string>;

struct ProcessWalls {
  pid_t pid = 0;
  std::string name;
  pid_t parent = 0;
  std::vector<ThreadWalls> threads;  // By tid. The kernel's own helpers (KVM's) are among them.
  Result<Namespaces> namespaces;
  Result<std::vector<std::string>> root;  // The names in its "/", sorted and escaped.
  Result<std::vector<ProcessMount>> mounts;
  Result<std::vector<ProcessLimit>> limits;
  // What is open, and how often: "socket", "anon_inode:kvm-vm", "/dev/null"; escaped.
  Result<std::map<std::string, size_t>> descriptors;
};

// kNotFound when there is none (any more). What is read is of one process throughout, whatever
// becomes of its number.
Result<ProcessWalls> ReadProcessWalls(pid_t pid);
// Of the caller.
Result<Namespaces> ReadOwnNamespaces();

// The processes beneath `pid`, children before theirs; at most `limit`.
Result<std::vector<pid_t>> ListDescendants(pid_t pid, size_t limit);

// The calls that a policy allows, sorted; with "(...)" where the arguments decide.
std::vector<std::string> AllowedCalls(const Policy& policy);

}  // namespace msb::jail
