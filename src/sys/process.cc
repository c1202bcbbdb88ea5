// SPDX-License-Identifier: Apache-2.0
// pidfds, spawning and reaping.

#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "sys/file.h"
#include "sys/retry.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace msb::sys {
namespace {

enum class Step : int { kNone, kSession, kParent, kUsers, kWorkdir, kFds, kExec };
constexpr const char* kStepNames[] = {
    "", "setsid", "prctl PR_SET_PDEATHSIG", "enter the user namespace of", "chdir", "dup2", "exec"};

struct Plan {
  const SpawnOptions* options;
  const char* program;
  char* const* argv;
  char* const* envp;
  const sigset_t* caller_mask;
  pid_t parent;
  int lowest_free;  // Above every number the child wants.
  int report;       // Where the child says {step, errno}; closed by a successful exec.
};

struct Failure {
  Step step = Step::kNone;
  int error = 0;
};

// SAFETY: runs in the child after vfork, in the parent's memory: only system calls on values made
// ready by the parent. It answers by a pipe, not by that memory: under ThreadSanitizer vfork is
// fork.
[[noreturn]] void RunChild(Plan* plan, std::span<SpawnOptions::PassedFd> fds) {
  auto fail = [&](Step step) {
    Failure failure{step, errno};
    [[maybe_unused]] ssize_t n = ::write(plan->report, &failure, sizeof failure);
    ::_exit(127);
  };
  int report = ::fcntl(plan->report, F_DUPFD_CLOEXEC, plan->lowest_free);
  if (report == -1) fail(Step::kFds);
  plan->report = report;
  for (int signal = 1; signal < NSIG; signal++) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    if (signal != SIGKILL && signal != SIGSTOP) ::sigaction(signal, &action, nullptr);
  }
  if (plan->options->new_session && ::setsid() == -1) fail(Step::kSession);
  if (plan->options->die_with_parent) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == -1) fail(Step::kParent);
    if (::getppid() != plan->parent) ::_exit(127);
  }
  // The call itself: that of the C library is for all threads of a process.
  if (int users = plan->options->user_namespace;
      users != -1 && (::setns(users, CLONE_NEWUSER) == -1 || ::syscall(SYS_setgroups, 0, 0) == -1))
    fail(Step::kUsers);
  if (plan->options->workdir && ::chdir(plan->options->workdir->c_str()) == -1)
    fail(Step::kWorkdir);
  // First out of the way of all target numbers, then onto them.
  for (auto& passed : fds) {
    passed.fd = ::fcntl(passed.fd, F_DUPFD_CLOEXEC, plan->lowest_free);
    if (passed.fd == -1) fail(Step::kFds);
  }
  int next = 3;
  for (const auto& passed : fds) {
    if (::dup2(passed.fd, passed.number) == -1) fail(Step::kFds);
  }
  // Sorted by number: everything between the wanted ones is closed at exec.
  for (const auto& passed : fds) {
    if (passed.number > next)
      ::syscall(SYS_close_range, next, passed.number - 1, 4 /* CLOSE_RANGE_CLOEXEC */);
    next = std::max(next, passed.number + 1);
  }
  ::syscall(SYS_close_range, next, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
  ::sigprocmask(SIG_SETMASK, plan->caller_mask, nullptr);
  ::execve(plan->program, plan->argv, plan->envp);
  fail(Step::kExec);
  __builtin_unreachable();
}

// vfork() in a frame of its own: the child runs on it, and nothing of the caller's is in registers
// that the child may change.
[[gnu::noinline]] pid_t StartChild(Plan* plan, std::span<SpawnOptions::PassedFd> fds) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  plan->caller_mask = &before;
  pid_t pid = ::vfork();
  if (pid == 0) RunChild(plan, fds);
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return pid;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<UniqueFd> PidfdOpen(pid_t pid) {
  long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd == -1) return Error::Errno(Cat("pidfd_open ", pid));
  return UniqueFd(static_cast<int>(fd));
}

Result<void> PidfdSendSignal(BorrowedFd pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == -1 && errno != ESRCH)
    return Error::Errno(Cat("pidfd_send_signal ", signal));
  return {};
}

Result<std::optional<ExitStatus>> TryReap(BorrowedFd pidfd) {
  siginfo_t info{};
  int rc = RetryOnEintr([&] {
    return ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info,
                    WEXITED | WNOHANG);
  });
  if (rc == -1) return Error::Errno("waitid");
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  return std::optional(ExitStatus{info.si_code != CLD_EXITED, info.si_status});
}

Result<ExitStatus> Reap(BorrowedFd pidfd, Deadline deadline) {
  for (;;) {
    pollfd wait{pidfd.get(), POLLIN, 0};
    int n = RetryOnEintr([&] { return ::poll(&wait, 1, deadline.PollTimeout()); });
    if (n == -1) return Error::Errno("poll");
    if (auto status = TRY(TryReap(pidfd))) return *status;
    if (deadline.Passed()) return Error(Code::kDeadlineExceeded, "process still runs");
  }
}

Result<ExitStatus> Child::Wait(Deadline deadline) {
  auto status = TRY(Reap(pidfd_, deadline));
  pidfd_.Reset();
  return status;
}

Result<std::optional<ExitStatus>> Child::TryWait() {
  auto status = TRY(TryReap(pidfd_));
  if (status) pidfd_.Reset();
  return status;
}

void Child::KillAndReap() {
  if (!pidfd_) return;
  (void)PidfdSendSignal(pidfd_, SIGKILL);
  (void)Reap(pidfd_, Deadline::Never());
  pidfd_.Reset();
}

Result<Child> Spawn(const SpawnOptions& options) {
  auto argv = Pointers(options.argv);
  auto envp = Pointers(options.env);
  std::vector<SpawnOptions::PassedFd> fds = options.fds;
  std::sort(fds.begin(), fds.end(), [](auto& a, auto& b) { return a.number < b.number; });
  const std::string& program = options.program ? *options.program : options.argv.at(0);
  Plan plan{&options,
            program.c_str(),
            argv.data(),
            envp.data(),
            nullptr,
            ::getpid(),
            fds.empty() ? 3 : fds.back().number + 1,
            -1};
  plan.lowest_free = std::max(plan.lowest_free, 3);

  auto pipe = TRY(MakePipe());
  plan.report = pipe.write.get();
  pid_t pid = StartChild(&plan, fds);
  if (pid == -1) return Error::Errno(Cat("vfork for ", program));
  pipe.write.Reset();
  Failure failure;
  auto told = ReadSome(pipe.read, std::as_writable_bytes(std::span(&failure, 1)));
  bool failed = told && *told == sizeof failure;
  // Cannot have been reaped: nobody else waits for our children by number.
  auto pidfd = PidfdOpen(pid);
  if (failed || !pidfd) {
    if (!pidfd) ::kill(pid, SIGKILL);
    RetryOnEintr([&] { return ::waitpid(pid, nullptr, 0); });
    if (!pidfd) return std::move(pidfd).error();
    return Error::Errno(Cat(kStepNames[static_cast<int>(failure.step)], " ", program),
                        failure.error);
  }
  return Child(*std::move(pidfd));
}

bool OpenStandardDescriptors() {
  for (int fd = 0; fd <= 2; fd++) {
    // NOLINTNEXTLINE(android-cloexec-open): the three that programs inherit.
    if (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

std::vector<std::string> CurrentEnvironment() {
  std::vector<std::string> env;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; entry++)
    env.emplace_back(*entry);
  return env;
}

std::optional<std::string> GetEnv(const char* name) {
  const char* value = ::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

// It fails for no name (prctl(2)).
void NameThread(const char* name) { ::prctl(PR_SET_NAME, name, 0, 0, 0); }

Result<UniqueFd> SignalFd(std::span<const int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : signals) ::sigaddset(&set, signal);
  if (int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    return Error::Errno("pthread_sigmask", error);
  int fd = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd == -1) return Error::Errno("signalfd");
  return UniqueFd(fd);
}

}  // namespace msb::sys
