// SPDX-License-Identifier: Apache-2.0
// msb stop and msb kill.

#include "programs/msb/stop.h"

#include "base/json_writer.h"
#include "base/text.h"
#include "event/loop.h"
#include "programs/msb/commands.h"
#include "programs/msb/root.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"

namespace msb::cli {

namespace {

class EndWatcher : public sandbox::Client::Listener {
 public:
  void OnFailed(uint32_t, const protocol::ExecFailed&) override {}
  void OnOutput(uint32_t, int, std::span<const std::byte>) override {}
  void OnExit(uint32_t, const protocol::ExecExit&) override {}
  void OnOutcome(const sandbox::Outcome&, const std::string&) override {}
  void OnError(uint32_t, Error reason) override { error.emplace(std::move(reason)); }
  // With or without an outcome: it has ended, which is what was wanted.
  void OnClosed() override { closed = true; }

  bool closed = false;
  std::optional<Error> error;
};

}  // namespace

Result<void> EndSandbox(const sandbox::Home& home, const sandbox::RecordInfo& record,
                        std::optional<std::chrono::milliseconds> grace) {
  if (record.state == sandbox::State::kEnded) return {};
  auto socket = sandbox::Connect(home, record);
  // It ended between our look and our call.
  if (!socket && socket.error().code() == Code::kFailedPrecondition) return {};
  auto loop = TRY(event::Loop::Create());
  EndWatcher watcher;
  auto client = TRY(sandbox::Client::Create(*loop, TRY(std::move(socket)), watcher));
  if (grace)
    client->Stop(*grace);
  else
    client->KillMachine();
  // The supervisor's own limit comes first; this one is for a supervisor that hangs.
  auto limit = grace.value_or(std::chrono::milliseconds(0)) + std::chrono::seconds(15);
  Deadline deadline = Deadline::After(limit);
  while (!watcher.closed) {
    if (deadline.Passed())
      return Error(Code::kDeadlineExceeded, Cat(record.id, " has not ended"))
          .Remedy(Cat("run: msb kill ", record.id, ", then msb gc"));
    TRY(loop->RunOnce(deadline));
  }
  if (watcher.error) return *std::move(watcher.error);
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
