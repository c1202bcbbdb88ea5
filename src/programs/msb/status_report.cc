// SPDX-License-Identifier: Apache-2.0
// SessionEnd as JSON.

#include "programs/msb/status_report.h"

#include <fcntl.h>

#include "base/json_writer.h"
#include "base/text.h"
#include "programs/msb/record_view.h"
#include "sys/file.h"

namespace msb::cli {

namespace {

void WriteOutcome(JsonWriter& json, const SessionEnd& end) {
  std::optional<sandbox::Outcome> outcome;
  if (end.exit)
    outcome = sandbox::ToOutcome(*end.exit);
  else if (end.outcome && !end.failed && end.interrupted_by == 0)
    outcome = end.outcome;
  std::string kind = outcome                   ? std::string(sandbox::Name(outcome->kind))
                     : end.interrupted_by != 0 ? "interrupted"
                     : end.failed || end.error ? "not_started"
                                               : "supervisor_died";
  json.Key("outcome").BeginObject().Key("kind").String(kind);
  json.Key("code");
  bool exited = end.exit && end.exit->kind == protocol::ExitKind::kExited;
  exited ? json.Number(end.exit->code) : json.Null();
  json.Key("signal");
  bool signaled = end.exit && end.exit->kind != protocol::ExitKind::kExited;
  signaled ? json.Number(end.exit->code) : json.Null();
  json.Key("detail");
  auto explained = Explain(end);
  explained ? json.String(explained->message()) : json.Null();
  json.EndObject();
}

void WriteTime(JsonWriter& json, std::string_view key, Clock::time_point began,
               std::optional<Clock::time_point> at) {
  json.Key(key);
  at ? json.Number(std::chrono::nanoseconds(*at - began).count()) : json.Null();
}

void WriteUsage(JsonWriter& json, const SessionEnd& end) {
  json.Key("usage");
  if (!end.exit) {
    json.Null();
    return;
  }
  json.BeginObject();
  json.Key("spawn_to_exit_ns").Number(end.exit->spawn_to_exit_ns);
  json.Key("cpu_user_ns").Number(end.exit->cpu_user_ns);
  json.Key("cpu_system_ns").Number(end.exit->cpu_system_ns);
  json.Key("peak_memory_bytes");
  end.exit->peak_memory_bytes != 0 ? json.Number(end.exit->peak_memory_bytes) : json.Null();
  json.EndObject();
}

void Write(const ProgramOptions& options, std::string text) {
  if (!options.status_fd) return;
  text += "\n";
  // A reader that has gone does not want to know.
  (void)sys::WriteAll(BorrowedFd::Raw(*options.status_fd), text);
}

}  // namespace

std::string StatusJson(const SessionEnd& end, Clock::time_point began) {
  RecordView record = ViewRecord(end.record_json);
  JsonWriter json;
  json.BeginObject();
  auto text = [&](std::string_view key, const std::string& value) {
    json.Key(key);
    value.empty() ? json.Null() : json.String(value);
  };
  text("id", record.id);
  text("name", record.name);
  text("isolation", record.isolation);
  json.Key("exit_code").Number(ExitCode(end));
  WriteOutcome(json, end);
  json.Key("timings_ns").BeginObject();
  WriteTime(json, "ready", began, end.ready);
  WriteTime(json, "started", began, end.started);
  WriteTime(json, "first_output", began, end.first_output);
  WriteTime(json, "exited", began, end.exited);
  WriteTime(json, "ended", began, end.ended);
  json.EndObject();
  WriteUsage(json, end);
  json.Key("startup");
  record.startup_json.empty() ? json.Null() : json.Raw(record.startup_json);
  json.EndObject();
  return std::move(json).Take();
}

void ReportStatus(const ProgramOptions& options, const SessionEnd& end, Clock::time_point began) {
  if (options.status_fd) Write(options, StatusJson(end, began));
}

void ReportError(const ProgramOptions& options, const Error& error) {
  if (!options.status_fd) return;
  SessionEnd end;
  end.error = Error(error.code(), error.message());
  Write(options, StatusJson(end, Clock::now()));
}

Result<void> CheckStatusFd(const ProgramOptions& options) {
  if (!options.status_fd) return {};
  int flags = ::fcntl(*options.status_fd, F_GETFL);
  if (flags != -1 && (flags & O_ACCMODE) != O_RDONLY) return {};
  return Error(Code::kInvalidArgument,
               Cat("--status-fd ", *options.status_fd, ": not open for writing"))
      .Remedy("open it in the shell: msb exe --status-fd 3 ... 3>status.json");
}

}  // namespace msb::cli
