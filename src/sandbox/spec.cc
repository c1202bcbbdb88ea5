// SPDX-License-Identifier: Apache-2.0
// The limits of a spec, and a spec as JSON.

#include "sandbox/spec.h"

#include <limits.h>
#include <sys/sysinfo.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/name.h"
#include "base/text.h"
#include "sandbox/spec_json.h"

namespace msb::sandbox {
namespace {

constexpr uint32_t kMaxCpus = 32;
constexpr uint64_t kMinMemory = 64 * kMiB;
constexpr uint64_t kMaxMemory = 1024 * kGiB;
constexpr uint64_t kMinStorage = 16 * kMiB;
constexpr uint64_t kMaxStorage = 1024 * kGiB;

Error Refused(std::string what, std::string_view remedy) {
  return Error(Code::kInvalidArgument, std::move(what)).Remedy(remedy);
}

uint64_t HostMemory() {
  struct sysinfo info {};
  if (::sysinfo(&info) == -1) return UINT64_MAX;
  return uint64_t{info.totalram} * info.mem_unit;
}

Result<void> CheckMemory(const SandboxSpec& spec) {
  std::string given = Cat("--memory ", FormatSize(spec.memory_bytes));
  if (spec.memory_bytes < kMinMemory)
    return Refused(Cat(given, ": a machine needs at least ", FormatSize(kMinMemory)),
                   "give --memory 64M or more (a bare number is MiB)");
  uint64_t host = HostMemory();
  if (spec.memory_bytes > kMaxMemory || spec.memory_bytes > host)
    return Refused(Cat(given, ": this host has ", FormatSize(host)),
                   "give --memory less than the host has, such as 1G");
  return {};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    size_t length = Utf8SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::string_view Name(Isolation isolation) {
  for (const auto& [name, value] : json::EnumNames<Isolation>::kNames)
    if (value == isolation) return name;
  return "unknown";
}

Result<Isolation> ParseIsolation(std::string_view text) {
  for (const auto& [name, value] : json::EnumNames<Isolation>::kNames)
    if (name == text) return value;
  return Refused(Cat("unknown isolation \"", Escape(text, 32), "\""),
                 "one of vm, vm-emulated, process");
}

Result<void> CheckSpec(const SandboxSpec& spec) {
  if (!spec.name.empty()) TRY(CheckName(spec.name, "--name"));
  if (!spec.hostname.empty()) TRY(CheckHostname(spec.hostname).Context("--hostname"));
  if (spec.cpus < 1 || spec.cpus > kMaxCpus)
    return Refused(Cat("--cpus ", spec.cpus, ": a machine has 1 to ", kMaxCpus, " processors"),
                   Cat("give --cpus a number from 1 to ", kMaxCpus));
  TRY(CheckMemory(spec));
  if (spec.storage_bytes < kMinStorage || spec.storage_bytes > kMaxStorage)
    return Refused(Cat("--storage ", FormatSize(spec.storage_bytes), ": at least ",
                       FormatSize(kMinStorage), ", at most ", FormatSize(kMaxStorage)),
                   "give --storage such as 512M (a bare number is MiB)");
  if (!spec.cgroup.empty() && (spec.cgroup[0] != '/' || spec.cgroup.size() >= PATH_MAX))
    return Refused(Cat("--cgroup ", Escape(spec.cgroup, 80), ": not an absolute path"),
                   "write it from the root: --cgroup /sys/fs/cgroup/...");
  if (spec.timeout && spec.timeout->count() <= 0)
    return Refused("--timeout must be longer than nothing", "give --timeout such as 30s or 5m");
  if (spec.main) {
    if (spec.lifetime == Lifetime::kAttached)
      return Error(Code::kInvalidArgument, "an attached sandbox has no main command of its own");
    TRY(protocol::CheckExecSpec(*spec.main));
  }
  return {};
}

std::string HostnameOf(const SandboxSpec& spec, const std::string& id) {
  if (!spec.hostname.empty()) return spec.hostname;
  return spec.name.empty() ? id : spec.name;
}

std::string ToJson(const SandboxSpec& spec) { return json::Encode(spec); }

Result<SandboxSpec> ParseSpec(std::string_view text) { return json::Decode<SandboxSpec>(text); }

}  // namespace msb::sandbox

namespace msb::json {

Result<void> Codec<protocol::ExecSpec>::Read(const Value& value, protocol::ExecSpec& into) {
  if (auto bytes = TRY(value.FindField("bytes")); bytes && !bytes->is_null()) {
    auto encoded = ParseHex(TRY(bytes->String()));
    if (!encoded) return bytes->Complaint("not hexadecimal");
    into = TRY(protocol::ParseExecSpec(*encoded));
    return {};
  }
  TRY(Codec<std::vector<std::string>>::Read(TRY(value.Field("argv")), into.argv));
  TRY(Codec<std::vector<std::string>>::Read(TRY(value.Field("env")), into.env));
  into.workdir = TRY(TRY(value.Field("workdir")).String());
  into.user = TRY(TRY(value.Field("user")).String());
  into.terminal = TRY(TRY(value.Field("terminal")).Bool());
  into.stdin_open = TRY(TRY(value.Field("stdin_open")).Bool());
  TRY(Codec<uint16_t>::Read(TRY(value.Field("rows")), into.size.rows));
  TRY(Codec<uint16_t>::Read(TRY(value.Field("columns")), into.size.columns));
  return protocol::CheckExecSpec(into);
}

void Codec<protocol::ExecSpec>::Write(const protocol::ExecSpec& from, JsonWriter& out) {
  out.BeginObject();
  out.Key("argv");
  Codec<std::vector<std::string>>::Write(from.argv, out);
  out.Key("env");
  Codec<std::vector<std::string>>::Write(from.env, out);
  out.Key("workdir").String(from.workdir);
  out.Key("user").String(from.user);
  out.Key("terminal").Bool(from.terminal);
  out.Key("stdin_open").Bool(from.stdin_open);
  out.Key("rows").Number(from.size.rows);
  out.Key("columns").Number(from.size.columns);
  bool text = std::all_of(from.argv.begin(), from.argv.end(), sandbox::IsUtf8) &&
              std::all_of(from.env.begin(), from.env.end(), sandbox::IsUtf8) &&
              sandbox::IsUtf8(from.workdir) && sandbox::IsUtf8(from.user);
  if (!text) out.Key("bytes").String(Hex(protocol::Encode(from)));
  out.EndObject();
}

}  // namespace msb::json
