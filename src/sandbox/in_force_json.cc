// SPDX-License-Identifier: Apache-2.0
// What is in force, for scripts. What could not be read is {"unknown": "why"} in the place of its
// value, never an empty one.

#include <linux/seccomp.h>

#include <set>

#include "base/json_writer.h"
#include "sandbox/in_force.h"

namespace msb::sandbox {
namespace {

void WriteUnknown(JsonWriter& out, std::string_view why) {
  out.BeginObject().Key("unknown").String(why).EndObject();
}

template <class T, class Write>
void WriteOr(JsonWriter& out, const Result<T>& value, Write write) {
  if (value)
    write(*value);
  else
    WriteUnknown(out, value.error().message());
}

template <class T, class Write>
void WriteOr(JsonWriter& out, const std::optional<T>& value, Write write) {
  if (value)
    write(*value);
  else
    WriteUnknown(out, "this kernel does not say");
}

template <class List>
void WriteNumbers(JsonWriter& out, std::string_view key, const std::optional<List>& list) {
  out.Key(key);
  WriteOr(out, list, [&](const List& numbers) {
    out.BeginArray();
    for (auto number : numbers) out.Number(number);
    out.EndArray();
  });
}

void WriteStrings(JsonWriter& out, const std::vector<std::string>& list) {
  out.BeginArray();
  for (const std::string& text : list) out.String(text);
  out.EndArray();
}

// As /proc writes it: sixteen hexadecimal digits.
std::string SetText(uint64_t set) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(set >> shift) & 15];
  return text;
}

void WriteThread(JsonWriter& out, const jail::ThreadWalls& thread, std::string_view policy) {
  const jail::TaskStatus& status = thread.status;
  out.BeginObject();
  out.Key("tid").Number(thread.tid);
  out.Key("name").String(status.name);
  // The table of its class. That it is the one in force cannot be seen from outside.
  out.Key("policy");
  if (policy.empty())
    out.Null();
  else
    out.String(policy);
  WriteNumbers(out, "uids", status.uids);
  WriteNumbers(out, "gids", status.gids);
  WriteNumbers(out, "groups", status.groups);
  out.Key("capabilities").BeginObject();
  std::pair<const char*, const std::optional<uint64_t>*> sets[] = {
      {"effective", &status.effective},
      {"permitted", &status.permitted},
      {"inheritable", &status.inheritable},
      {"bounding", &status.bounding},
      {"ambient", &status.ambient}};
  for (const auto& [name, set] : sets) {
    out.Key(name);
    WriteOr(out, *set, [&](uint64_t bits) { out.String(SetText(bits)); });
  }
  out.EndObject();
  out.Key("no_new_privs");
  WriteOr(out, status.no_new_privileges, [&](uint64_t set) { out.Bool(set == 1); });
  out.Key("seccomp").BeginObject().Key("mode");
  WriteOr(out, status.seccomp_mode, [&](uint64_t mode) { out.Number(mode); });
  out.Key("filters");
  WriteOr(out, status.seccomp_filters, [&](uint64_t count) { out.Number(count); });
  out.EndObject().EndObject();
}

void WriteFindings(JsonWriter& out, const std::vector<Finding>& findings) {
  out.BeginArray();
  for (const Finding& finding : findings) {
    out.BeginObject().Key("wall").String(finding.wall).Key("in_force");
    if (finding.verdict == Verdict::kUnknown)
      out.Null();
    else
      out.Bool(finding.verdict == Verdict::kHolds);
    out.Key("says").String(finding.says).EndObject();
  }
  out.EndArray();
}

void WriteLimit(JsonWriter& out, const jail::ProcessLimit& limit) {
  auto number = [&](std::string_view key, const std::optional<uint64_t>& value) {
    out.Key(key);
    if (value)
      out.Number(*value);
    else
      out.Null();
  };
  out.BeginObject().Key("name").String(limit.name);
  number("soft", limit.soft);
  number("hard", limit.hard);
  out.Key("unit").String(limit.unit).EndObject();
}

void WriteTree(JsonWriter& out, const jail::ProcessWalls& walls) {
  out.Key("root");
  WriteOr(out, walls.root, [&](const auto& names) { WriteStrings(out, names); });
  out.Key("mounts");
  WriteOr(out, walls.mounts, [&](const std::vector<jail::ProcessMount>& mounts) {
    out.BeginArray();
    for (const jail::ProcessMount& mount : mounts)
      out.BeginObject()
          .Key("at")
          .String(mount.at)
          .Key("type")
          .String(mount.type)
          .Key("read_only")
          .Bool(mount.read_only)
          .Key("nosuid")
          .Bool(mount.no_setuid)
          .Key("nodev")
          .Bool(mount.no_devices)
          .EndObject();
    out.EndArray();
  });
}

void WriteProcess(JsonWriter& out, const ProcessInForce& process) {
  const jail::ProcessWalls& walls = process.walls;
  out.BeginObject();
  out.Key("part").String(Name(process.part));
  out.Key("pid").Number(walls.pid).Key("parent").Number(walls.parent);
  out.Key("name").String(walls.name);
  out.Key("walls");
  WriteFindings(out, process.findings);
  out.Key("namespaces");
  WriteOr(out, walls.namespaces, [&](const jail::Namespaces& all) {
    out.BeginObject();
    for (const auto& [kind, link] : all) out.Key(kind).String(link);
    out.EndObject();
  });
  // The supervisor sees the host's tree, and nothing else was promised.
  if (process.part != Part::kSupervisor) WriteTree(out, walls);
  out.Key("rlimits");
  WriteOr(out, walls.limits, [&](const std::vector<jail::ProcessLimit>& limits) {
    out.BeginArray();
    for (const jail::ProcessLimit& limit : limits) WriteLimit(out, limit);
    out.EndArray();
  });
  out.Key("descriptors");
  WriteOr(out, walls.descriptors, [&](const std::map<std::string, size_t>& all) {
    out.BeginObject();
    for (const auto& [target, count] : all) out.Key(target).Number(count);
    out.EndObject();
  });
  out.Key("threads").BeginArray();
  for (size_t i = 0; i < walls.threads.size(); i++)
    WriteThread(out, walls.threads[i], process.policies[i]);
  out.EndArray().EndObject();
}

void WritePolicy(JsonWriter& out, const jail::Policy& policy) {
  out.BeginObject();
  out.Key("name").String(policy.name);
  out.Key("otherwise");
  if (policy.fallback == jail::kActKill)
    out.String("kills the process");
  else
    out.String(Cat("fails with errno ", policy.fallback & SECCOMP_RET_DATA));
  out.Key("allows");
  WriteStrings(out, jail::AllowedCalls(policy));
  out.EndObject();
}

}  // namespace

std::string ToJson(const InForce& in_force) {
  JsonWriter out;
  std::set<std::string_view> policies;
  out.BeginObject().Key("processes").BeginArray();
  for (const ProcessInForce& process : in_force.processes) {
    WriteProcess(out, process);
    policies.insert(process.policies.begin(), process.policies.end());
  }
  out.EndArray();
  policies.erase("");
  out.Key("policies").BeginArray();
  for (std::string_view name : policies) WritePolicy(out, FindPolicy(name));
  out.EndArray();
  out.Key("limits");
  WriteFindings(out, in_force.limits);
  out.Key("cgroups").BeginArray();
  for (const CgroupInForce& cgroup : in_force.cgroups) {
    out.BeginObject().Key("path").String(cgroup.path).Key("holds_machine");
    WriteOr(out, cgroup.holds_machine, [&](bool holds) { out.Bool(holds); });
    out.Key("files").BeginObject();
    for (const auto& [file, value] : cgroup.limits) out.Key(file).String(value);
    out.EndObject().EndObject();
  }
  out.EndArray().Key("problems");
  WriteStrings(out, in_force.problems);
  out.EndObject();
  return std::move(out).Take();
}

}  // namespace msb::sandbox
