// SPDX-License-Identifier: Apache-2.0
// msb logs: what a sandbox's main command, or its kernel, has written; -f waits for more by inotify
// and ends when the sandbox does, which its supervisor's connection tells. The console of a sandbox
// that runs is in its supervisor's memory, and asked for there.

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/text.h"
#include "event/loop.h"
#include "programs/msb/commands.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"
#include "sandbox/log_reader.h"
#include "sandbox/sandboxes.h"
#include "sys/file.h"

namespace msb::cli {

namespace {

// One log and where its text goes.
struct Source {
  sandbox::LogReader log;
  int to;
};

std::string EscapeLines(std::string_view text) {
  std::vector<std::string> lines = Split(text, '\n');
  for (std::string& line : lines) line = Escape(line, line.size());
  return Join(lines, "\n");
}

Result<void> Put(int to, std::string_view text) {
  if (to != 1) return sys::WriteAll(BorrowedFd::Raw(to), text);
  Print(text);
  return {};
}

Result<void> CopyNew(std::vector<Source>& sources) {
  for (Source& source : sources)
    TRY(source.log.CopyTo([&](std::string_view text) { return Put(source.to, text); }));
  return {};
}

// Hears of the sandbox's end, and of its console.
class Follower : public sandbox::Client::Listener {
 public:
  void OnFailed(uint32_t, const protocol::ExecFailed&) override {}
  void OnOutput(uint32_t, int, std::span<const std::byte>) override {}
  void OnExit(uint32_t, const protocol::ExecExit&) override {}
  void OnOutcome(const sandbox::Outcome&, const std::string&) override {}
  void OnError(uint32_t, Error) override {}
  void OnConsole(std::span<const std::byte> bytes) override {
    console += AsText(bytes);
    console_complete = bytes.empty();
  }
  void OnClosed() override { ended = true; }

  bool ended = false;
  std::string console;
  bool console_complete = false;
  std::optional<Error> error;
};

Result<std::vector<Source>> OpenLogs(BorrowedFd record) {
  std::vector<Source> sources;
  for (auto [name, to] : {std::pair("stdout.log", 1), std::pair("stderr.log", 2)})
    if (auto log = TRY(sandbox::LogReader::Open(record, name)))
      sources.push_back({std::move(*log), to});
  return sources;
}

Result<void> Follow(const sandbox::Home& home, const sandbox::RecordInfo& record, BorrowedFd dir,
                    std::vector<Source>& sources) {
  auto loop = TRY(event::Loop::Create());
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return Error::Errno("inotify_init1");
  // The directory, for a log that rotates is another file then.
  std::string path = Cat("/proc/self/fd/", dir.get());
  if (::inotify_add_watch(inotify.get(), path.c_str(), IN_MODIFY | IN_CREATE) == -1)
    return Error::Errno("inotify_add_watch on the record");
  Follower follower;
  auto copy = [&] {
    auto copied = CopyNew(sources);
    if (!copied && !follower.error) follower.error = std::move(copied).error();
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

std::string_view LastLines(std::string_view text, uint64_t lines) {
  size_t end = text.ends_with('\n') ? text.size() - 1 : text.size();
  for (size_t at = end; at > 0 && lines > 0; at--)
    if (text[at - 1] == '\n' && --lines == 0) return text.substr(at);
  return lines == 0 ? "" : text;
}

// nullopt: it has ended meanwhile.
Result<std::optional<std::string>> AskForConsole(const sandbox::Home& home,
                                                 const sandbox::RecordInfo& record) {
  auto socket = sandbox::Connect(home, record);
  if (!socket && socket.error().code() == Code::kFailedPrecondition)
    return std::optional<std::string>();
  auto loop = TRY(event::Loop::Create());
  Follower follower;
  auto client = TRY(sandbox::Client::Create(*loop, TRY(std::move(socket)), follower));
  client->RequestConsole();
  Deadline deadline = Deadline::After(std::chrono::seconds(10));
  while (!follower.console_complete && !follower.ended) {
    if (deadline.Passed())
      return Error(Code::kDeadlineExceeded, Cat(record.id, ": its supervisor does not answer"))
          .Remedy(Cat("run: msb kill ", record.id));
    TRY(loop->RunOnce(deadline));
  }
  if (!follower.console_complete) return std::optional<std::string>();
  return std::optional(std::move(follower.console));
}

Result<void> ShowConsole(const sandbox::Home& home, const sandbox::RecordInfo& record,
                         BorrowedFd dir, const LogsOptions& options) {
  std::optional<std::string> text;
  if (record.state != sandbox::State::kEnded) {
    if (options.follow)
      return Error(Code::kInvalidArgument, "--console shows what there is and does not follow")
          .Remedy("leave out --follow, or start the sandbox with --debug-console");
    text = TRY(AskForConsole(home, record));
  }
  if (!text) {
    auto log = TRY(sandbox::LogReader::Open(dir, "console.log"));
    if (!log)
      return Error(Code::kNotFound, Cat(options.sandbox, " left no console"))
          .Remedy("start it with --debug-console to see it while it lasts");
    text.emplace();
    TRY(log->CopyTo([&](std::string_view piece) -> Result<void> {
      *text += piece;
      return {};
    }));
  }
  std::string_view shown = options.tail ? LastLines(*text, *options.tail) : *text;
  // The guest's kernel speaks, and a terminal obeys.
  Print(IsTerminal(1) ? EscapeLines(shown) : std::string(shown));
  return {};
}

Result<void> ShowLogs(const LogsOptions& options) {
  auto home = TRY(sandbox::Home::OpenToRead());
  auto record = TRY(sandbox::FindSandbox(home, options.sandbox));
  UniqueFd dir = TRY(sandbox::OpenRecord(home, record));
  if (options.console) return ShowConsole(home, record, dir, options);
  auto sources = TRY(OpenLogs(dir));
  if (sources.empty())
    return Error(Code::kNotFound, Cat(options.sandbox, " has no log of that kind"))
        .Remedy(
            "only the command that a detached sandbox was started with is logged: "
            "msb exe -d IMAGE -- COMMAND");
  if (options.tail)
    for (Source& source : sources) TRY(source.log.SkipToTail(*options.tail));
  TRY(CopyNew(sources));
  if (!options.follow || record.state == sandbox::State::kEnded) return {};
  return Follow(home, record, dir, sources);
}

}  // namespace

int RunLogs(const LogsOptions& options) {
  auto shown = ShowLogs(options);
  return shown ? 0 : Fail(shown.error(), Format::kText, kExitFailed);
}

}  // namespace msb::cli
