// SPDX-License-Identifier: Apache-2.0
// msb ps, inspect and rm: the records of sandboxes. stop and kill are in stop.cc.

#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/json_writer.h"
#include "base/text.h"
#include "json/pretty.h"
#include "programs/msb/commands.h"
#include "programs/msb/root.h"
#include "programs/msb/stop.h"
#include "programs/msb/ui.h"
#include "programs/msb/walls_view.h"
#include "sandbox/in_force.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

namespace {

std::string Age(int64_t created_unix_ns) {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  auto age = now - std::chrono::nanoseconds(created_unix_ns);
  auto seconds =
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
  if (seconds < 60) return Cat(seconds, " s");
  if (seconds < 3600) return Cat(seconds / 60, " min");
  if (seconds < 48 * 3600) return Cat(seconds / 3600, " h");
  return Cat(seconds / 86400, " days");
}

// "running", "exited (3)", "died (supervisor)".
std::string StateText(const sandbox::RecordInfo& record) {
  if (record.state != sandbox::State::kEnded || !record.outcome)
    return std::string(sandbox::Name(record.state));
  const sandbox::Outcome& outcome = *record.outcome;
  if (outcome.kind == sandbox::OutcomeKind::kExited) return Cat("exited (", outcome.code, ")");
  if (outcome.kind == sandbox::OutcomeKind::kSignaled) return Cat("signaled (", outcome.code, ")");
  if (outcome.kind == sandbox::OutcomeKind::kSupervisorDied) return "died";
  std::string text(sandbox::Name(outcome.kind));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string Shortened(const std::string& text, size_t limit) {
  std::string safe = Escape(text, limit * 4);
  if (safe.size() <= limit) return safe;
  return safe.substr(0, limit - 3) + "...";
}

std::string TextOf(const std::vector<sandbox::RecordInfo>& records) {
  Table table({"ID", "NAME", "IMAGE", "ISOLATION", "STATE", "AGE", "COMMAND"});
  for (const auto& record : records)
    table.Add({record.id, record.name.empty() ? "-" : record.name,
               record.image.empty() ? "-" : Shortened(record.image, 40),
               std::string(sandbox::Name(record.isolation)), StateText(record),
               Age(record.created_unix_ns), Shortened(record.command, 40)});
  return table.Text(UseColor(1));
}

std::string JsonOf(const std::vector<sandbox::RecordInfo>& records) {
  JsonWriter json;
  json.BeginObject().Key("sandboxes").BeginArray();
  for (const auto& record : records) json.Raw(record.json);
  json.EndArray().EndObject();
  return std::move(json).Take() + "\n";
}

Result<std::vector<sandbox::RecordInfo>> List(bool all) {
  auto home = TRY(sandbox::Home::OpenToRead());
  sandbox::Reconcile(home);
  RemoveDeadTrees(home);
  auto records = TRY(sandbox::ListSandboxes(home));
  if (!all) std::erase_if(records, [](const auto& r) { return r.state == sandbox::State::kEnded; });
  std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return a.created_unix_ns > b.created_unix_ns;
  });
  return records;
}

// Nothing, when nothing of it runs. A look that fails is no reason to hide the rest.
std::optional<Result<sandbox::InForce>> Look(const sandbox::Home& home,
                                             const sandbox::RecordInfo& record) {
  if (record.state == sandbox::State::kEnded) return std::nullopt;
  return sandbox::ReadInForce(home, record);
}

std::string WallsOf(const sandbox::Home& home, const sandbox::RecordInfo& record) {
  auto in_force = Look(home, record);
  if (!in_force) return RecordedWallsText(record, "");
  if (!*in_force) return RecordedWallsText(record, in_force->error().message());
  return WallsText(record, **in_force);
}

// The record with one more member.
std::string WithInForce(const sandbox::Home& home, const sandbox::RecordInfo& record) {
  auto in_force = Look(home, record);
  std::string value = "null";
  if (in_force && *in_force) {
    value = sandbox::ToJson(**in_force);
  } else if (in_force) {
    JsonWriter unknown;
    unknown.BeginObject().Key("unknown").String(in_force->error().message()).EndObject();
    value = std::move(unknown).Take();
  }
  // A record is an object that is never empty.
  std::string_view members = record.json;
  members.remove_suffix(1);
  return Cat(members, ",\"in_force\":", value, "}");
}

// False: there was none, and that is fine.
Result<bool> RemoveOne(const sandbox::Home& home, const std::string& name, bool force) {
  auto found = sandbox::FindSandbox(home, name);
  if (!found && force && found.error().code() == Code::kNotFound) return false;
  sandbox::RecordInfo record = TRY(std::move(found));
  if (record.state != sandbox::State::kEnded) {
    if (!force)
      return Error(Code::kFailedPrecondition, Cat(name, " is ", sandbox::Name(record.state)))
          .Remedy(Cat("run: msb stop ", name, ", or msb rm -f ", name));
    TRY(EndSandbox(home, record, std::nullopt));
    // It took its record with it if it was attached.
    auto again = sandbox::FindSandbox(home, record.id);
    if (!again && again.error().code() == Code::kNotFound) return true;
    record = TRY(std::move(again));
  }
  TRY(sandbox::RemoveSandbox(home, record));
  return true;
}

}  // namespace

int RunPs(const PsOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto records = List(options.all);
  if (!records) return Fail(records.error(), format, kExitFailed);
  if (options.json) {
    Print(JsonOf(*records));
  } else if (options.quiet) {
    for (const auto& record : *records)
      Print((record.name.empty() ? record.id : record.name) + "\n");
  } else {
    Print(TextOf(*records));
  }
  return 0;
}

int RunInspect(const InspectOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto home = sandbox::Home::OpenToRead();
  if (!home) return Fail(home.error(), format, kExitFailed);
  int code = 0;
  for (const std::string& name : options.sandboxes) {
    auto record = sandbox::FindSandbox(*home, name);
    if (!record)
      code = Fail(record.error(), format, kExitFailed);
    else if (options.walls && !options.json)
      Print(WallsOf(*home, *record));
    else
      Print(json::Pretty(WithInForce(*home, *record)) + "\n");
  }
  return code;
}

int RunRm(const RmOptions& options) {
  return ForEachSandbox(options.sandboxes, options.json, "removed",
                        [&](const sandbox::Home& home, const std::string& name) {
                          return RemoveOne(home, name, options.force);
                        });
}

}  // namespace msb::cli
