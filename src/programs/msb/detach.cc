// SPDX-License-Identifier: Apache-2.0
// Waits for the hello of a detached sandbox.

#include "programs/msb/detach.h"

#include <memory>

#include "base/json_writer.h"
#include "base/text.h"
#include "programs/msb/record_view.h"
#include "programs/msb/session.h"
#include "programs/msb/status_report.h"
#include "programs/msb/ui.h"
#include "sandbox/client.h"

namespace msb::cli {

namespace {

class StartWatcher : public sandbox::Client::Listener {
 public:
  void OnReady(const std::string& record_json) override {
    end.record_json = record_json;
    end.hello_seen = true;
    end.ready = Clock::now();
  }
  void OnFailed(uint32_t, const protocol::ExecFailed& failed) override { end.failed = failed; }
  void OnOutput(uint32_t, int, std::span<const std::byte>) override {}
  void OnExit(uint32_t, const protocol::ExecExit& exit) override { end.exit = exit; }
  void OnOutcome(const sandbox::Outcome& outcome, const std::string& record_json) override {
    end.outcome = outcome;
    end.record_json = record_json;
  }
  void OnError(uint32_t, Error error) override {
    if (!end.error) end.error = std::move(error);
  }
  void OnClosed() override { closed = true; }
  bool Done() const { return end.hello_seen || end.error || end.outcome || closed; }

  SessionEnd end;
  bool closed = false;
};

Result<SessionEnd> WaitForHello(UniqueFd socket, Format format, bool quiet) {
  auto loop = TRY(event::Loop::Create());
  StartWatcher watcher;
  auto client = TRY(sandbox::Client::Create(*loop, std::move(socket), watcher));
  Progress progress(!quiet && format == Format::kText);
  auto timer =
      loop->After(std::chrono::seconds(1), [&] { progress.Show("starting the machine ..."); });
  while (!watcher.Done()) TRY(loop->RunOnce(Deadline::Never()));
  return std::move(watcher.end);
}

}  // namespace

int FinishDetached(const ExeOptions& options, UniqueFd socket) {
  Clock::time_point began = Clock::now();
  Format format = options.program.json ? Format::kJson : Format::kText;
  auto end = WaitForHello(std::move(socket), format, options.program.quiet);
  if (!end) return Fail(end.error(), format, kExitNotStarted);
  ReportStatus(options.program, *end, began);
  // A command that was quick has run: its end is in the record, and told by `msb ps -a`.
  if (!end->hello_seen) {
    auto explained = Explain(*end);
    int code = ExitCode(*end);
    return explained ? Fail(*explained, format, code) : code;
  }
  RecordView record = ViewRecord(end->record_json);
  if (std::string note = LimitsNote(record); !note.empty() && !options.program.quiet)
    Notice(note, format);
  if (format == Format::kJson) {
    JsonWriter json;
    json.BeginObject().Key("id").String(record.id).Key("name");
    record.name.empty() ? json.Null() : json.String(record.name);
    json.Key("isolation").String(record.isolation).EndObject();
    Print(std::move(json).Take() + "\n");
  } else {
    Print(Cat(record.name.empty() ? record.id : record.name, "\n"));
  }
  return 0;
}

}  // namespace msb::cli
