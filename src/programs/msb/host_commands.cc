// SPDX-License-Identifier: Apache-2.0
// msb doctor, gc, version and help.

#include <unistd.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/text.h"
#include "image/store/store.h"
#include "programs/msb/commands.h"
#include "programs/msb/help.h"
#include "programs/msb/isolation.h"
#include "programs/msb/tree_ids.h"
#include "programs/msb/ui.h"
#include "sandbox/probe.h"
#include "sandbox/sandboxes.h"
#include "sys/process.h"

namespace msb::cli {

namespace {

std::string_view StateName(sandbox::CheckState state) {
  switch (state) {
    case sandbox::CheckState::kOk:
      return "ok";
    case sandbox::CheckState::kWarning:
      return "warning";
    case sandbox::CheckState::kFailed:
      return "failed";
  }
  return "failed";
}

std::string Colored(sandbox::CheckState state, bool color) {
  std::string name(StateName(state));
  name.resize(7, ' ');
  if (!color) return name;
  std::string_view code = state == sandbox::CheckState::kOk        ? "32"
                          : state == sandbox::CheckState::kWarning ? "33"
                                                                   : "31";
  return Cat("\033[", code, "m", name, "\033[0m");
}

std::string TextOf(const std::vector<sandbox::HostCheck>& checks, bool color) {
  size_t width = 0;
  for (const auto& check : checks) width = std::max(width, check.name.size());
  std::string text;
  for (const auto& check : checks) {
    std::string name = check.name;
    name.resize(width, ' ');
    std::string indent(width + 9, ' ');
    text += Cat(Colored(check.state, color), "  ", name, "  ", Escape(check.result), "\n");
    auto line = [&](std::string_view label, const std::string& what) {
      if (!what.empty()) text += Cat(indent, "  ", label, Escape(what), "\n");
    };
    line("tried: ", check.tried);
    line("cost:  ", check.cost);
    line("fix:   ", check.fix);
  }
  return text;
}

std::string JsonOf(const std::vector<sandbox::HostCheck>& checks,
                   const Result<sandbox::Choice>& choice, bool works) {
  JsonWriter json;
  json.BeginObject().Key("default_works").Bool(works);
  json.Key("isolation");
  choice ? json.String(sandbox::Name(choice->isolation)) : json.Null();
  json.Key("reason");
  choice ? json.Null() : json.String(choice.error().message());
  json.Key("checks").BeginArray();
  for (const auto& check : checks) {
    json.BeginObject().Key("name").String(check.name);
    json.Key("state").String(StateName(check.state));
    json.Key("tried").String(check.tried).Key("result").String(check.result);
    json.Key("cost");
    check.cost.empty() ? json.Null() : json.String(check.cost);
    json.Key("fix");
    check.fix.empty() ? json.Null() : json.String(check.fix);
    json.EndObject();
  }
  json.EndArray().EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace

int RunDoctor(const DoctorOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto home = sandbox::Home::Open();
  if (!home) return Fail(home.error(), format, kExitFailed);
  auto checks = sandbox::CheckHost(home->dir());
  auto choice = ChooseIsolation(home->dir(), std::nullopt, std::nullopt, sys::GetEnv);
  // The choice knows the kinds of machine, the checks what each of them needs.
  bool works = choice.ok() && std::none_of(checks.begin(), checks.end(), [](const auto& check) {
                 return check.state == sandbox::CheckState::kFailed;
               });
  if (options.json) {
    Print(JsonOf(checks, choice, works));
  } else {
    Print(TextOf(checks, UseColor(1)));
    auto asked = IsolationOfEnvironment(sys::GetEnv);
    std::string_view why = asked && *asked ? " ($MICROSANDBOX_ISOLATION)" : "";
    if (works) Print(Cat("\nmsb exe uses: ", sandbox::Name(choice->isolation), why, "\n"));
  }
  if (works) return 0;
  return options.json || choice ? kExitFailed : Fail(choice.error(), format, kExitFailed);
}

namespace {

void PrintRemoved(const std::vector<std::string>& removed, const store::Garbage& images,
                  bool as_json) {
  if (!as_json) {
    for (const std::string& line : removed) Print(Cat(line, "\n"));
    return;
  }
  JsonWriter json;
  json.BeginObject().Key("removed").BeginArray();
  for (const std::string& line : removed) json.BeginObject().Key("what").String(line).EndObject();
  json.EndArray().Key("image_bytes").Number(images.bytes).EndObject();
  Print(std::move(json).Take() + "\n");
}

}  // namespace

int RunGc(const GcOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto home = sandbox::Home::Open();
  if (!home) return Fail(home.error(), format, kExitFailed);
  auto removed = sandbox::CollectGarbage(*home);
  if (!removed) return Fail(removed.error(), format, kExitFailed);
  auto store = OpenStore(*home);
  if (!store) return Fail(store.error(), format, kExitFailed);
  // Root's trees serve whatever ids there are.
  std::optional<store::TreeIds> ids;
  if (::geteuid() != 0) ids = TryProcessIds().tree();
  auto images = store->CollectGarbage(store::GarbageMode::kRemove, ids);
  if (!images) return Fail(images.error(), format, kExitFailed);
  for (const auto& item : images->items) removed->push_back("images/" + item.path);
  PrintRemoved(*removed, *images, options.json);
  for (store::Garbage::Left& left : images->left)
    (void)Fail(std::move(left.error).Context(Cat(home->path(), "/images/", left.path)), format,
               kExitFailed);
  return images->left.empty() ? 0 : kExitFailed;
}

int RunVersion(const VersionOptions& options) {
  if (options.json) {
    JsonWriter json;
    json.BeginObject().Key("version").String(MSB_VERSION).EndObject();
    Print(std::move(json).Take() + "\n");
  } else {
    Print("msb " MSB_VERSION "\n");
  }
  return 0;
}

int RunHelp(const HelpOptions& options) {
  if (options.command.empty()) {
    Print(OverviewText(UseColor(1)));
    return 0;
  }
  auto text = HelpText(options.command, UseColor(1));
  if (!text) return Fail(text.error(), Format::kText, kExitNotStarted);
  Print(*text);
  return 0;
}

}  // namespace msb::cli
