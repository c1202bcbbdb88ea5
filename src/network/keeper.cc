// SPDX-License-Identifier: Apache-2.0
// The helper, the keeper, the program; each says by a pipe how it went, a line each.

#include "network/keeper.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/capability.h"
#include "sys/file.h"
#include "sys/fork.h"

namespace msb::network {
namespace {

constexpr auto kReadyTimeout = std::chrono::seconds(30);
constexpr size_t kMostSaid = 4096;
constexpr std::string_view kPid = "pid ", kReady = "ready", kFailed = "failed ";

// Before an exec, or in a process that only waits: no Result has anywhere to go.
class Reporter {
 public:
  explicit Reporter(int fd) : fd_(fd) {}
  void Say(std::string_view kind, std::string_view text = "") const {
    (void)sys::WriteAll(BorrowedFd::Raw(fd_), Cat(kind, text, "\n"));
  }
  [[noreturn]] void Fail(std::string_view text, int error) const {
    Say(kFailed, Cat(text, error == 0 ? "" : ": ", error == 0 ? "" : ::strerrordesc_np(error)));
    ::_exit(1);
  }
  void Check(std::string_view step, long rc) const {
    if (rc == -1) Fail(step, errno);
  }

 private:
  int fd_;
};

struct Keeper {
  int network, users, us;  // Namespaces; the process that started it, as a pidfd.
  const std::vector<std::string>& argv;
  Reporter report;
  int report_fd;

  [[noreturn]] void Launch() const;
  [[noreturn]] void Keep() const;
  [[noreturn]] void Become(int where, int errors) const;
};

// In the helper.
void Keeper::Launch() const {
  int keep[] = {network, users, us, report_fd};
  sys::CloseAllBut(keep);
  report.Check("enter the sandbox's user namespace", ::setns(users, CLONE_NEWUSER));
  clone_args args;
  std::memset(&args, 0, sizeof args);
  args.flags = CLONE_NEWPID | CLONE_PARENT;
  // SAFETY: a fork of a process with one thread; the child never returns from Keep().
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) Keep();
  report.Check("make a process namespace", pid);
  report.Say(kPid, Cat(pid));
  ::_exit(0);
}

std::string FirstLine(int fd) {
  char said[512];
  ssize_t n = ::read(fd, said, sizeof said);
  std::string_view text(said, n > 0 ? static_cast<size_t>(n) : 0);
  // It complains first when there is no log to write to.
  while (text.starts_with("Failed to send ")) {
    size_t end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return Escape(text.substr(0, text.find('\n')), 256);
}

void Keeper::Keep() const {
  // After the last change to more rights than before: that clears it.
  report.Check("die with the parent", ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  pollfd parent{us, POLLIN, 0};
  if (::poll(&parent, 1, 0) != 0) ::_exit(1);
  auto where = sys::MakePipe(), errors = sys::MakePipe(O_NONBLOCK);
  if (!where || !errors) report.Fail("pipe", errno);
  pid_t program = ::fork();
  report.Check("fork", program);
  if (program == 0) Become(where->read.get(), errors->write.get());
  // The program opens the sandbox's network by our number: we are in it, and hold no capability
  // that the program has given up, so that it may look at us.
  report.Check("enter the sandbox's network", ::setns(network, CLONE_NEWNET));
  report.Check("drop capabilities", sys::RawDropCapabilities(0));
  report.Check("be seen", ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
  char number[32];
  ssize_t length = ::readlink("/proc/self", number, sizeof number);
  report.Check("read /proc/self", length);
  report.Check("tell the program",
               ::write(where->write.get(), number, static_cast<size_t>(length)));
  int keep[] = {report_fd, errors->read.get()};
  sys::CloseAllBut(keep);
  int status = 0;
  report.Check("wait", ::waitpid(program, &status, 0));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    report.Fail(Cat(argv[0], ": ", FirstLine(errors->read.get())), 0);
  report.Say(kReady);
  sys::CloseAllBut({});
  // What went into the background is ours to reap; without it there is nothing to keep.
  while (::waitpid(-1, nullptr, 0) != -1 || errno == EINTR) {
  }
  ::_exit(0);
}

void Keeper::Become(int where, int errors) const {
  char number[32];
  ssize_t length = ::read(where, number, sizeof number);
  if (length <= 0) ::_exit(1);
  std::string path =
      Cat("/proc/", std::string_view(number, static_cast<size_t>(length)), "/ns/net");
  std::vector<char*> words;
  for (const std::string& word : argv)
    words.push_back(const_cast<char*>(word == kNetworkPath ? path.c_str() : word.c_str()));
  words.push_back(nullptr);
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 2; fd++) report.Check("/dev/null", ::dup2(null, fd));
  report.Check("stderr", ::dup2(errors, 2));
  // pasta takes a SIGPIPE that it finds ignored for an error.
  report.Check("SIGPIPE", ::signal(SIGPIPE, SIG_DFL) == SIG_ERR ? -1 : 0);
  char path_setting[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[] = {path_setting, nullptr};
  ::execve(words[0], words.data(), environment);
  report.Fail(Cat("execute ", argv[0]), errno);
}

struct Said {
  std::optional<int> pid;
  bool ready = false;
  std::string failure;
};

// Until the last who could say something has let go of the pipe.
Result<Said> Listen(BorrowedFd from, Deadline deadline) {
  std::string text;
  for (;;) {
    pollfd wait{from.get(), POLLIN, 0};
    int n = ::poll(&wait, 1, deadline.PollTimeout());
    if (n == -1 && errno == EINTR) continue;
    if (n == -1) return Error::Errno("poll");
    if (n == 0) return Error(Code::kDeadlineExceeded, "it is not ready in time");
    std::byte buffer[512];
    size_t got = TRY(sys::ReadSome(from, buffer));
    if (got == 0) break;
    if (text.size() < kMostSaid) text += AsText(std::span(buffer).first(got));
  }
  Said said;
  for (std::string_view line : Split(text, '\n')) {
    if (line.starts_with(kPid)) said.pid = ParseNumber<int>(line.substr(kPid.size()));
    if (line == kReady) said.ready = true;
    if (line.starts_with(kFailed)) said.failure = line.substr(kFailed.size());
  }
  return said;
}

}  // namespace

Result<void> RunInside(BorrowedFd network, BorrowedFd users,
                       const std::function<Result<void>()>& body) {
  sys::Pipe pipe = TRY(sys::MakePipe());
  auto child = TRY(sys::ForkChild([&] {
    Reporter report(pipe.write.get());
    report.Check("enter the sandbox's user namespace", ::setns(users.get(), CLONE_NEWUSER));
    report.Check("enter the sandbox's network", ::setns(network.get(), CLONE_NEWNET));
    auto done = body();
    if (!done) report.Fail(done.error().message(), 0);
    report.Say(kReady);
    return 0;
  }));
  pipe.write.Reset();
  auto said = TRY(Listen(pipe.read, Deadline::After(kReadyTimeout)));
  TRY(child.Wait(Deadline::After(kReadyTimeout)));
  if (said.ready) return {};
  return Error(Code::kFailedPrecondition, said.failure);
}

Result<sys::Child> StartKept(BorrowedFd network, BorrowedFd users,
                             const std::vector<std::string>& argv) {
  sys::Pipe pipe = TRY(sys::MakePipe());
  UniqueFd us = TRY(sys::PidfdOpen(::getpid()));
  int report = pipe.write.get();
  Keeper keeper{network.get(), users.get(), us.get(), argv, Reporter(report), report};
  auto helper = TRY(sys::ForkChild([&]() -> int { keeper.Launch(); }));
  pipe.write.Reset();
  auto said = Listen(pipe.read, Deadline::After(kReadyTimeout));
  TRY(helper.Wait(Deadline::After(kReadyTimeout)));
  if (said && said->pid) {
    // Our child, so the number is nobody else's; ended with what it keeps if it failed.
    sys::Child kept(TRY(sys::PidfdOpen(*said->pid)));
    if (said->ready) return kept;
  }
  return Error(Code::kFailedPrecondition, TRY(std::move(said)).failure);
}

}  // namespace msb::network
