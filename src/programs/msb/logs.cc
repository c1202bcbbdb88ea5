// SPDX-License-Identifier: Apache-2.0
// msb logs: what a sandbox's main command, or its kernel, has written; -f waits for more by inotify
// and ends when the sandbox does, which its supervisor's connection tells.

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "event/loop.h"
#include "programs/msb/commands.h"
#include "programs/msb/log_tail.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"
#include "sandbox/sandboxes.h"
#include "sys/file.h"

namespace msb::cli {

namespace {

// One log and where its text goes.
struct Source {
  UniqueFd file;
  int to;
  bool escaped = false;  // The guest's kernel speaks, and a terminal listens.
};

std::string EscapeLines(std::string_view text) {
  std::vector<std::string> lines = Split(text, '\n');
  for (std::string& line : lines) line = Escape(line, line.size());
  return Join(lines, "\n");
}

Result<void> CopyRest(const Source& source) {
  std::array<std::byte, 64 * 1024> buffer;
  while (true) {
    size_t count = TRY(sys::ReadSome(source.file, buffer));
    if (count == 0) return {};
    std::string_view text(reinterpret_cast<const char*>(buffer.data()), count);
    if (source.to == 1)
      Print(source.escaped ? EscapeLines(text) : std::string(text));
    else
      TRY(sys::WriteAll(BorrowedFd::Raw(source.to), text));
  }
}

class Follower : public sandbox::Client::Listener {
 public:
  void OnFailed(uint32_t, const protocol::ExecFailed&) override {}
  void OnOutput(uint32_t, int, std::span<const std::byte>) override {}
  void OnExit(uint32_t, const protocol::ExecExit&) override {}
  void OnOutcome(const sandbox::Outcome&, const std::string&) override {}
  void OnError(uint32_t, Error) override {}
  void OnClosed() override { ended = true; }

  bool ended = false;
  std::optional<Error> error;
};

Result<std::vector<Source>> OpenSources(const sandbox::Home& home,
                                        const sandbox::RecordInfo& record, bool console) {
  std::vector<Source> sources;
  auto add = [&](std::string_view which, int to) -> Result<void> {
    auto log = TRY(sandbox::OpenLog(home, record, which));
    if (log) sources.push_back({std::move(*log), to, console && ::isatty(to) == 1});
    return {};
  };
  if (console) {
    TRY(add("console", 1));
  } else {
    TRY(add("stdout", 1));
    TRY(add("stderr", 2));
  }
  return sources;
}

Result<void> Follow(const sandbox::Home& home, const sandbox::RecordInfo& record,
                    const std::vector<Source>& sources) {
  auto loop = TRY(event::Loop::Create());
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return Error::Errno("inotify_init1");
  for (const Source& source : sources) {
    std::string path = Cat("/proc/self/fd/", source.file.get());
    if (::inotify_add_watch(inotify.get(), path.c_str(), IN_MODIFY) == -1)
      return Error::Errno("inotify_add_watch on the log");
  }
  Follower follower;
  auto copy = [&] {
    for (const Source& source : sources) {
      auto copied = CopyRest(source);
      if (!copied && !follower.error) follower.error = std::move(copied).error();
    }
  };
  auto watch = TRY(loop->Watch(inotify, event::Interest::kRead, [&](event::Ready) {
    std::array<std::byte, 4096> events;
    (void)sys::ReadSome(inotify, events);
    copy();
  }));
  auto socket = sandbox::Connect(home, record);
  std::unique_ptr<sandbox::Client> client;
  if (socket)
    client = TRY(sandbox::Client::Create(*loop, *std::move(socket), follower));
  else if (socket.error().code() != Code::kFailedPrecondition)
    return std::move(socket).error();
  else
    follower.ended = true;
  // What was written before the watch began.
  copy();
  while (!follower.ended && !follower.error) TRY(loop->RunOnce(Deadline::Never()));
  copy();
  if (follower.error) return *std::move(follower.error);
  return {};
}

Result<void> ShowLogs(const LogsOptions& options) {
  auto home = TRY(sandbox::Home::Open());
  auto record = TRY(sandbox::FindSandbox(home, options.sandbox));
  auto sources = TRY(OpenSources(home, record, options.console));
  if (sources.empty() && options.console)
    return Error(Code::kFailedPrecondition,
                 Cat(options.sandbox, " still runs: its console is written when it has ended"))
        .Remedy(Cat("msb stop ", options.sandbox, "; or start it with --debug-console"));
  if (sources.empty())
    return Error(Code::kNotFound, Cat(options.sandbox, " has no log of that kind"))
        .Remedy(
            "only the command that a detached sandbox was started with is logged: "
            "msb exe -d IMAGE -- COMMAND");
  for (const Source& source : sources) {
    if (options.tail) TRY(SeekToTail(source.file, *options.tail));
    TRY(CopyRest(source));
  }
  if (!options.follow || record.state == sandbox::State::kEnded) return {};
  return Follow(home, record, sources);
}

}  // namespace

int RunLogs(const LogsOptions& options) {
  auto shown = ShowLogs(options);
  return shown ? 0 : Fail(shown.error(), Format::kText, kExitFailed);
}

}  // namespace msb::cli
