// SPDX-License-Identifier: Apache-2.0
// The agent of a process sandbox: a session over a socket, and nothing to mount.

#include "agent/sandboxed.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>

#include "agent/accounts.h"
#include "agent/first_process.h"
#include "agent/orderly_end.h"
#include "agent/reaper.h"
#include "agent/session.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

constexpr auto kLastWords = std::chrono::milliseconds(200);

void Note(std::string_view line) {
  (void)sys::WriteAll(BorrowedFd::Raw(STDERR_FILENO), Cat("msb-agent: ", line, "\n"));
}

// Descriptor 0 as one of ours; programs get /dev/null or a pipe in its place.
Result<UniqueFd> TakeChannel() {
  UniqueFd channel = TRY(sys::Duplicate(BorrowedFd::Raw(STDIN_FILENO)));
  UniqueFd null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  if (::dup2(null.get(), STDIN_FILENO) == -1) return Error::Errno("dup2");
  TRY(sys::SetNonBlocking(channel, true));
  return channel;
}

class Sandboxed final : public Session::Machine {
 public:
  Sandboxed(std::unique_ptr<event::Loop> loop, UniqueFd memory_events)
      : loop_(std::move(loop)), groups_(MakeSessionGroups(std::move(memory_events))) {}

  // Everything until the end; the error is why it comes.
  Result<void> Run(UniqueFd channel);
  [[noreturn]] void End(std::string_view reason);

 private:
  protocol::Hello MakeHello() override {
    protocol::Hello hello;
    struct utsname name {};
    if (::uname(&name) == 0) hello.release = static_cast<const char*>(name.release);
    return hello;
  }
  // Names, clock and entropy are the host's; the sandbox was started with what is its own.
  void Configure(const protocol::MachineConfig&) override {}
  void Shutdown() override { orderly_end_.Begin(); }
  // The supervisor lives no more: nobody would ever end us.
  void Disconnected(const std::string& why) override {
    loop_->Post([this, why] { End(why); });
  }

  std::unique_ptr<event::Loop> loop_;
  std::unique_ptr<ExecGroups> groups_;
  std::unique_ptr<Accounts> accounts_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Reaper> reaper_;
  OrderlyEnd orderly_end_{[this] { End("shutdown"); }};
};

Result<void> Sandboxed::Run(UniqueFd channel) {
  accounts_ = std::make_unique<Accounts>(TRY(sys::OpenAt(sys::Cwd(), "/", O_RDONLY | O_DIRECTORY)));
  session_ = std::make_unique<Session>(*loop_, *this, *groups_, *accounts_);
  reaper_ = TRY(Reaper::Create(
      *loop_,
      [this](pid_t pid, int status, const struct rusage& usage) {
        session_->OnChildExit(pid, status, usage);
      },
      [this] {
        session_->Flush();
        orderly_end_.EndWhenAlone();
      }));
  TRY(session_->Attach(std::move(channel)));
  return loop_->Run();
}

void Sandboxed::End(std::string_view reason) {
  groups_->KillAll();
  if (session_ == nullptr) ::_exit(1);
  // What execs have said last, until the host has closed them; one that takes nothing any more must
  // not keep us.
  auto deadline = Deadline::After(kLastWords);
  while (session_->execs() > 0 && !deadline.Passed() && loop_->RunOnce(deadline).ok()) {
  }
  session_->Goodbye(reason);
  deadline = Deadline::After(kLastWords);
  while (!session_->quiet() && !deadline.Passed() && loop_->RunOnce(deadline).ok()) {
  }
  ::_exit(0);
}

Result<void> Start(const SandboxedOptions& options) {
  UniqueFd memory_events(options.memory_events);
  if (memory_events) TRY(sys::SetCloseOnExec(memory_events, true));
  UniqueFd channel = TRY(TakeChannel());
  // Programs of the same user namespace cannot look into our memory or our descriptors.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1) return Error::Errno("prctl PR_SET_DUMPABLE");
  Sandboxed sandboxed(TRY(event::Loop::Create()), std::move(memory_events));
  auto ended = sandboxed.Run(std::move(channel));
  std::string reason = ended.ok() ? "ended" : ended.error().message();
  Note(reason);
  sandboxed.End(reason);
}

}  // namespace

void RunSandboxed(const SandboxedOptions& options) {
  PrepareFirstProcess();
  auto started = Start(options);
  Note(started.ok() ? "ended" : started.error().message());
  ::_exit(1);
}

}  // namespace msb::agent
