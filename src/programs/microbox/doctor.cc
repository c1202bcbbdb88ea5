// SPDX-License-Identifier: Apache-2.0
#include "programs/microbox/doctor.h"

#include <unistd.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/text.h"
#include "network/host_check.h"
#include "programs/microbox/limits.h"

namespace msb::microbox {
namespace {

using box::HostCheck;

HostCheck CheckLimits(const Options& options) {
  HostCheck check{.name = "limits",
                  .tried = "set --memory, --cpus and --pids upon a cgroup",
                  .result = "memory, cpu and pids by cgroup"};
  auto limits = TryLimits(options, FindLimitsPlace(options));
  if (limits.cgroup) (void)limits.cgroup->Remove();
  if (limits.missing.empty()) return check;
  check.state = HostCheck::State::kFailed;
  check.result = limits.missing;
  check.cost = "those are not enforced: said at each start, refused under --require-limits";
  check.fix = std::string(kLimitsRemedy);
  return check;
}

HostCheck CheckBridge() {
  HostCheck check{.name = "bridge network",
                  .tried = "make a link and rules in a network namespace, and take them away",
                  .result = ::geteuid() == 0 ? "by the host" : "by pasta"};
  auto tried = network::TryBridge();
  if (tried) return check;
  check.state = HostCheck::State::kLess;
  check.result = tried.error().message();
  check.cost = "--net bridge is refused";
  check.fix = tried.error().remedy();
  return check;
}

}  // namespace

std::vector<HostCheck> Examine(const Options& options) {
  std::vector<HostCheck> checks = box::CheckHost();
  checks.push_back(CheckLimits(options));
  checks.push_back(CheckBridge());
  return checks;
}

bool DefaultWorks(std::span<const HostCheck> checks) {
  return std::none_of(checks.begin(), checks.end(), [](const HostCheck& check) {
    return check.state == HostCheck::State::kFailed;
  });
}

std::string DoctorText(std::span<const HostCheck> checks) {
  size_t width = 0;
  for (const HostCheck& check : checks) width = std::max(width, check.name.size());
  std::string text;
  for (const HostCheck& check : checks) {
    std::string state(StateName(check.state)), name = check.name;
    state.resize(8, ' ');
    name.resize(width + 2, ' ');
    text += Cat(state, name, Escape(check.result), "\n");
    if (check.state == HostCheck::State::kOk) continue;
    std::string indent(width + 12, ' ');
    auto line = [&](std::string_view label, const std::string& what) {
      if (!what.empty()) text += Cat(indent, label, Escape(what), "\n");
    };
    line("tried: ", check.tried);
    line("cost:  ", check.cost);
    line("fix:   ", check.fix);
  }
  return text + (DefaultWorks(checks)
                     ? "\nsandboxes start here with all walls and limits\n"
                     : "\nwhat failed is missing from every sandbox here, or keeps "
                       "it from starting\n");
}

std::string DoctorJson(std::span<const HostCheck> checks) {
  JsonWriter json;
  json.BeginObject().Key("default_works").Bool(DefaultWorks(checks)).Key("checks").BeginArray();
  for (const HostCheck& check : checks) {
    json.BeginObject().Key("name").String(check.name);
    json.Key("state").String(StateName(check.state));
    json.Key("tried").String(check.tried).Key("result").String(check.result);
    for (auto [key, text] : {std::pair("cost", &check.cost), std::pair("fix", &check.fix)}) {
      json.Key(key);
      text->empty() ? json.Null() : json.String(*text);
    }
    json.EndObject();
  }
  json.EndArray().EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace msb::microbox
