// SPDX-License-Identifier: Apache-2.0
// Everything is opened below one descriptor of /proc/PID: when the process dies, reads fail, and a
// new one with its number is never taken for it.

#include "jail/process_walls.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/text.h"
#include "sys/file.h"

namespace msb::jail {
namespace {

constexpr size_t kMostText = 64 * 1024;
constexpr size_t kMostMountText = 4 << 20;
constexpr size_t kMostThreads = 4096;
constexpr size_t kLongestTarget = 256;
constexpr const char* kNamespaceKinds[] = {"cgroup", "ipc",  "mnt",  "net",
                                           "pid",    "time", "user", "uts"};

bool IsGone(const Error& error) {
  return error.sys_errno() == ENOENT || error.sys_errno() == ESRCH;
}

Result<UniqueFd> OpenDirectory(BorrowedFd dir, const std::string& path) {
  return sys::OpenAt(dir, path, O_RDONLY | O_DIRECTORY);
}

Result<TaskStatus> ReadStatus(BorrowedFd dir, const std::string& path) {
  return ParseTaskStatus(TRY(sys::ReadFileAt(dir, path, kMostText)));
}

std::vector<pid_t> Numbers(const std::vector<std::string>& names) {
  std::vector<pid_t> numbers;
  for (const std::string& name : names)
    if (auto number = ParseNumber<pid_t>(name)) numbers.push_back(*number);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<std::vector<ThreadWalls>> ReadThreads(BorrowedFd process) {
  UniqueFd tasks = TRY(OpenDirectory(process, "task"));
  std::vector<ThreadWalls> threads;
  for (pid_t tid : Numbers(TRY(sys::ListDirectory(tasks)))) {
    if (threads.size() == kMostThreads)
      return Error(Code::kResourceExhausted, Cat("more than ", kMostThreads, " threads"));
    auto status = ReadStatus(tasks, Cat(tid, "/status"));
    if (!status && IsGone(status.error())) continue;  // It ended meanwhile.
    threads.push_back({tid, TRY(std::move(status))});
  }
  return threads;
}

Result<Namespaces> ReadNamespaces(BorrowedFd process) {
  Namespaces found;
  for (const char* kind : kNamespaceKinds) {
    auto link = sys::ReadLinkAt(process, Cat("ns/", kind));
    // A kernel without this kind has no link, and nobody is in one of his own.
    if (!link && link.error().sys_errno() == ENOENT) continue;
    found.emplace(kind, TRY(std::move(link)));
  }
  return found;
}

Result<std::vector<std::string>> ReadRoot(BorrowedFd process) {
  UniqueFd root = TRY(OpenDirectory(process, "root"));
  auto names = TRY(sys::ListDirectory(root));
  for (std::string& name : names) name = Escape(name, kLongestTarget);
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<ProcessMount>> ReadMounts(BorrowedFd process) {
  return ParseProcessMounts(TRY(sys::ReadFileAt(process, "mountinfo", kMostMountText)));
}

Result<std::vector<ProcessLimit>> ReadLimits(BorrowedFd process) {
  return ParseProcessLimits(TRY(sys::ReadFileAt(process, "limits", kMostText)));
}

Result<std::map<std::string, size_t>> ReadDescriptors(BorrowedFd process) {
  UniqueFd fds = TRY(OpenDirectory(process, "fd"));
  std::map<std::string, size_t> found;
  for (const std::string& number : TRY(sys::ListDirectory(fds))) {
    auto link = sys::ReadLinkAt(fds, number);
    if (!link && IsGone(link.error())) continue;
    std::string target = TRY(std::move(link));
    // "socket:[4711]": the number tells nothing.
    if (size_t bracket = target.find(":[");
        bracket != std::string::npos && target[0] != '/' && !target.starts_with("anon_inode:"))
      target.resize(bracket);
    found[Escape(target, kLongestTarget)]++;
  }
  return found;
}

}  // namespace

Result<ProcessWalls> ReadProcessWalls(pid_t pid) {
  UniqueFd process = TRY(OpenDirectory(sys::Cwd(), Cat("/proc/", pid)));
  auto status = TRY(ReadStatus(process, "status").Context(Cat("process ", pid)));
  auto threads = TRY(ReadThreads(process).Context(Cat("process ", pid)));
  if (threads.empty()) return Error(Code::kNotFound, Cat("process ", pid, " has ended"));
  return ProcessWalls{.pid = pid,
                      .name = status.name,
                      .parent = status.parent.value_or(0),
                      .threads = std::move(threads),
                      .namespaces = ReadNamespaces(process),
                      .root = ReadRoot(process),
                      .mounts = ReadMounts(process),
                      .limits = ReadLimits(process),
                      .descriptors = ReadDescriptors(process)};
}

Result<Namespaces> ReadOwnNamespaces() {
  UniqueFd self = TRY(OpenDirectory(sys::Cwd(), "/proc/self"));
  return ReadNamespaces(self);
}

Result<std::vector<pid_t>> ListDescendants(pid_t pid, size_t limit) {
  UniqueFd proc = TRY(OpenDirectory(sys::Cwd(), "/proc"));
  std::map<pid_t, std::vector<pid_t>> children;
  for (pid_t one : Numbers(TRY(sys::ListDirectory(proc)))) {
    // Others come and go, and some may be hidden from us (proc's hidepid): not ours.
    auto status = ReadStatus(proc, Cat(one, "/status"));
    if (status && status->parent) children[*status->parent].push_back(one);
  }
  std::vector<pid_t> found = {pid};
  for (size_t i = 0; i < found.size() && found.size() <= limit; i++)
    for (pid_t child : children[found[i]]) found.push_back(child);
  found.erase(found.begin());
  if (found.size() > limit) found.resize(limit);
  return found;
}

std::vector<std::string> AllowedCalls(const Policy& policy) {
  std::map<std::string_view, bool> allowed;  // Whatever its arguments are?
  for (const Rule& rule : policy.rules) {
    if (rule.action != kActAllow || SyscallNumber(rule.call) < 0) continue;
    bool always = std::all_of(rule.all_of.begin(), rule.all_of.end(), [](const ArgCheck& check) {
      return check.mask == 0 && check.value == 0;
    });
    allowed[rule.call] |= always;
  }
  std::vector<std::string> calls;
  for (const auto& [call, always] : allowed) calls.push_back(Cat(call, always ? "" : "(...)"));
  return calls;
}

}  // namespace msb::jail
