// SPDX-License-Identifier: Apache-2.0
// msb stop and msb kill.

#include "programs/msb/stop.h"

#include <poll.h>
#include <signal.h>

#include "base/deadline.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "event/loop.h"
#include "programs/msb/commands.h"
#include "programs/msb/root.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace msb::cli {

namespace {

// A supervisor's own limits come first; these are for one that hangs, or has no room for us.
constexpr auto kStopRoom = std::chrono::seconds(15);
constexpr auto kKillPatience = std::chrono::seconds(15);
// Between the end of a connection and the end of who had it.
constexpr auto kLeavePatience = std::chrono::seconds(5);

class EndWatcher : public sandbox::Client::Listener {
 public:
  void OnFailed(uint32_t, const protocol::ExecFailed&) override {}
  void OnOutput(uint32_t, int, std::span<const std::byte>) override {}
  void OnExit(uint32_t, const protocol::ExecExit&) override {}
  void OnOutcome(const sandbox::Outcome&, const std::string&) override {}
  void OnError(uint32_t, Error reason) override { error.emplace(std::move(reason)); }
  void OnClosed() override { closed = true; }

  bool closed = false;
  std::optional<Error> error;
};

// By the lock of its record: what a connection said or did not say proves nothing.
bool HasEnded(const sandbox::Home& home, const std::string& id) {
  Deadline deadline = Deadline::After(kLeavePatience);
  for (;;) {
    auto now = sandbox::FindSandbox(home, id);
    if (!now && now.error().code() == Code::kNotFound) return true;
    if (now && now->state == sandbox::State::kEnded) return true;
    if (deadline.Passed()) return false;
    (void)::poll(nullptr, 0, 20);
  }
}

// Who listens on it, as the kernel knows it: no number of a file, which may be another's by now.
std::optional<UniqueFd> OpenListener(BorrowedFd socket) {
  auto peer = sys::GetPeer(socket);
  if (!peer || peer->pid <= 0) return std::nullopt;
  auto pidfd = sys::PidfdOpen(peer->pid);
  if (!pidfd) return std::nullopt;
  return std::move(*pidfd);
}

Error Runs(const sandbox::RecordInfo& record, const EndWatcher& watcher) {
  if (watcher.error) return Error(watcher.error->code(), watcher.error->message());
  return Error(Code::kDeadlineExceeded, Cat(record.id, " has not ended"));
}

}  // namespace

Result<void> EndSandbox(const sandbox::Home& home, const sandbox::RecordInfo& record,
                        std::optional<std::chrono::milliseconds> grace) {
  if (record.state == sandbox::State::kEnded) return {};
  auto socket = sandbox::Connect(home, record);
  // It ended between our look and our call.
  if (!socket && socket.error().code() == Code::kFailedPrecondition) return {};
  if (!socket) return std::move(socket).error();
  auto supervisor = OpenListener(*socket);
  auto loop = TRY(event::Loop::Create());
  EndWatcher watcher;
  auto client = TRY(sandbox::Client::Create(*loop, std::move(*socket), watcher));
  if (grace)
    client->Stop(*grace);
  else
    client->KillMachine();
  Deadline deadline = Deadline::After(grace ? *grace + kStopRoom : kKillPatience);
  while (!watcher.closed && !deadline.Passed()) TRY(loop->RunOnce(deadline));
  if (watcher.closed && HasEnded(home, record.id)) return {};
  if (grace) return Runs(record, watcher).Remedy(Cat("run: msb kill ", record.id));
  // The lock of a record that runs is its supervisor's, so it is still the process that we opened,
  // and what it supervises ends with it.
  if (!supervisor)
    return Runs(record, watcher)
        .Remedy("end the process that `msb inspect` names as its supervisor");
  TRY(sys::PidfdSendSignal(*supervisor, SIGKILL));
  if (!HasEnded(home, record.id)) return Runs(record, watcher).Remedy("run: msb doctor");
  Notice(
      Cat(record.id, ": its supervisor did not answer and was killed; msb gc removes what is left"),
      Format::kText);
  return {};
}

int ForEachSandbox(
    const std::vector<std::string>& names, bool json, std::string_view done,
    const std::function<Result<bool>(const sandbox::Home&, const std::string&)>& act) {
  Format format = json ? Format::kJson : Format::kText;
  auto home = sandbox::Home::Open();
  if (!home) return Fail(home.error(), format, kExitFailed);
  int code = 0;
  JsonWriter out;
  out.BeginObject().Key(done).BeginArray();
  for (const std::string& name : names) {
    auto result = act(*home, name);
    if (!result) {
      code = Fail(result.error(), format, kExitFailed);
      continue;
    }
    if (!*result) continue;
    if (json)
      out.BeginObject().Key("sandbox").String(name).EndObject();
    else
      Print(name + "\n");
  }
  // A tree that was one sandbox's alone goes with it.
  RemoveDeadTrees(*home);
  out.EndArray().EndObject();
  if (json) Print(std::move(out).Take() + "\n");
  return code;
}

int RunStop(const StopOptions& options) {
  return ForEachSandbox(options.sandboxes, options.json, "stopped",
                        [&](const sandbox::Home& home, const std::string& name) -> Result<bool> {
                          auto record = TRY(sandbox::FindSandbox(home, name));
                          TRY(EndSandbox(home, record, options.grace));
                          return true;
                        });
}

int RunKill(const KillOptions& options) {
  return ForEachSandbox(options.sandboxes, options.json, "killed",
                        [&](const sandbox::Home& home, const std::string& name) -> Result<bool> {
                          auto record = TRY(sandbox::FindSandbox(home, name));
                          TRY(EndSandbox(home, record, std::nullopt));
                          return true;
                        });
}

}  // namespace msb::cli
