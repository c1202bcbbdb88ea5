// SPDX-License-Identifier: Apache-2.0
// Processes by pidfd: never by a number that may have become another's.

#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

// How a process ended.
struct ExitStatus {
  bool signaled = false;
  int code = 0;  // Exit code, or the signal's number.

  bool operator==(const ExitStatus&) const = default;
};

Result<UniqueFd> PidfdOpen(pid_t pid);
// The process having ended already is no error.
Result<void> PidfdSendSignal(BorrowedFd pidfd, int signal);
// Reaps a child that has ended; nullopt while it runs.
Result<std::optional<ExitStatus>> TryReap(BorrowedFd pidfd);
// kDeadlineExceeded when it runs on.
Result<ExitStatus> Reap(BorrowedFd pidfd, Deadline deadline);

// A child process. Destroyed while it runs: killed and reaped.
class [[nodiscard]] Child {
 public:
  explicit Child(UniqueFd pidfd) : pidfd_(std::move(pidfd)) {}
  Child(Child&&) noexcept = default;
  Child& operator=(Child&& other) noexcept {
    KillAndReap();
    pidfd_ = std::move(other.pidfd_);
    return *this;
  }
  ~Child() { KillAndReap(); }

  BorrowedFd pidfd() const { return pidfd_; }
  Result<void> Signal(int signal) { return PidfdSendSignal(pidfd_, signal); }
  // After this the object is empty.
  Result<ExitStatus> Wait(Deadline deadline);
  Result<std::optional<ExitStatus>> TryWait();
  // Lets it run on without us: the destructor does nothing.
  UniqueFd Detach() && { return std::move(pidfd_); }

 private:
  void KillAndReap();
  UniqueFd pidfd_;
};

// What a program is started with. Descriptors not named are closed in it.
struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is the program's path unless `program` is given.
  std::optional<std::string> program;
  std::vector<std::string> env;  // The whole environment.
  std::optional<std::string> workdir;
  struct PassedFd {
    int fd;      // In this process.
    int number;  // In the child. 0, 1 and 2 not named here are inherited as they are.
  };
  std::vector<PassedFd> fds;
  bool new_session = false;
  // The child is killed when the thread that started it dies.
  bool die_with_parent = false;
  // Of our making: the child is root there, without the groups that we have. -1: ours.
  int user_namespace = -1;
};
// vfork and exec. A failure of the exec is returned here, with the step.
Result<Child> Spawn(const SpawnOptions& options);

// A program started without 0, 1 or 2 would get its first files there, and hand them on: /dev/null
// in their places. False where that cannot be opened.
bool OpenStandardDescriptors();

// The environment of this process, as Spawn takes it.
std::vector<std::string> CurrentEnvironment();
std::optional<std::string> GetEnv(const char* name);

// What `ps -T` and /proc show of the calling thread: at most 15 bytes, the rest is cut off.
void NameThread(const char* name);

// Blocks the signals and returns a signalfd that reads them.
Result<UniqueFd> SignalFd(std::span<const int> signals);

}  // namespace msb::sys
