// SPDX-License-Identifier: Apache-2.0
// The record as JSON.

#include "programs/microbox/status.h"

#include <unistd.h>

#include "base/json_writer.h"
#include "jail/box/host_check.h"

namespace msb::microbox {
namespace {

std::string_view KindName(Ending::Kind kind) {
  switch (kind) {
    case Ending::Kind::kExited:
      return "exited";
    case Ending::Kind::kSignaled:
      return "signaled";
    case Ending::Kind::kTimeout:
      return "timeout";
    case Ending::Kind::kOutOfMemory:
      return "out-of-memory";
    case Ending::Kind::kOutputLimit:
      return "output-limit";
    case Ending::Kind::kKilled:
      return "killed";
  }
  return "killed";
}

void WriteExit(JsonWriter& json, std::string_view kind, int code, int signal) {
  json.Key("exit").BeginObject().Key("kind").String(kind).Key("code").Number(code).Key("signal");
  signal == 0 ? json.Null() : json.Number(signal);
  json.EndObject();
}

void WriteList(JsonWriter& json, std::string_view key, const std::vector<std::string>& list) {
  json.Key(key).BeginArray();
  for (const std::string& one : list) json.String(one);
  json.EndArray();
}

void WriteNetwork(JsonWriter& json, const NetworkFacts& network) {
  json.Key("network").BeginObject().Key("mode").String(network.mode);
  if (network.mode == "bridge") {
    json.Key("by").String(network.by);
    json.Key("address").String(network.address).Key("gateway").String(network.gateway);
    WriteList(json, "refused", network.refused);
    WriteList(json, "allowed", network.allowed);
    WriteList(json, "ports", network.ports);
  }
  json.EndObject();
}

void WriteRefused(JsonWriter& json, const std::optional<box::RefusalTable>& refused) {
  json.Key("refused");
  if (!refused) {
    json.Null();
    return;
  }
  json.BeginArray();
  for (const box::Refusal& one : refused->kinds())
    json.BeginObject()
        .Key("call")
        .String(box::CallName(one.kind.number))
        .Key("arguments")
        .String(box::KindArguments(one.kind))
        .Key("error")
        .String(box::ErrorName(one.error))
        .Key("count")
        .Number(one.count)
        .Key("learnt")
        .Bool(one.continued)
        .EndObject();
  json.EndArray().Key("refused_others").Number(refused->others());
}

}  // namespace

std::string StatusRecord(const Options& options, const box::Facts& facts,
                         const NetworkFacts& network, const Ending& ending,
                         const std::optional<box::RefusalTable>& refused) {
  JsonWriter json;
  json.BeginObject().Key("version").Number(1).Key("name");
  options.name.empty() ? json.Null() : json.String(options.name);
  json.Key("isolation").String("process");
  WriteList(json, "walls", facts.walls);
  json.Key("seccomp").String(options.learn.empty() ? "enforced" : "learning");
  // A command keeps the label of whoever starts it: under no_new_privs it can only lose rights.
  std::string label = box::SecurityLabel(::getpid());
  json.Key("label");
  label.empty() ? json.Null() : json.String(label);
  json.Key("ids").String(facts.ids);
  WriteList(json, "unmapped", facts.unmapped);
  WriteList(json, "limits", facts.limits);
  WriteNetwork(json, network);
  WriteRefused(json, refused);
  WriteExit(json, KindName(ending.kind), ending.code, ending.signal);
  auto number = [&](std::string_view key, std::optional<uint64_t> value) {
    json.Key(key);
    value ? json.Number(*value) : json.Null();
  };
  json.Key("usage").BeginObject();
  number("memory_peak_bytes", ending.usage.memory_peak_bytes);
  number("cpu_us", ending.usage.cpu_ns ? std::optional(*ending.usage.cpu_ns / 1000) : std::nullopt);
  number("pids_peak", ending.usage.pids_peak);
  number("oom_kills", ending.usage.oom_kills);
  number("duration_ms", static_cast<uint64_t>(ending.duration.count()));
  json.EndObject().EndObject();
  return std::move(json).Take() + "\n";
}

std::string StatusRecord(const Error& error, int code) {
  JsonWriter json;
  json.BeginObject().Key("version").Number(1);
  WriteExit(json, "not-started", code, 0);
  json.Key("error").BeginObject().Key("message").String(error.message()).Key("remedy");
  error.remedy().empty() ? json.Null() : json.String(error.remedy());
  json.EndObject().EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace msb::microbox
