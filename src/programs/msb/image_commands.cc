// SPDX-License-Identifier: Apache-2.0
// msb image: what is in the store. Importing is msb-image's work.

#include <unistd.h>

#include <chrono>

#include "base/json_writer.h"
#include "base/text.h"
#include "base/units.h"
#include "image/store/store.h"
#include "programs/msb/commands.h"
#include "programs/msb/root.h"
#include "programs/msb/ui.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

namespace {

std::string Date(std::chrono::sys_seconds at) {
  time_t seconds = std::chrono::system_clock::to_time_t(at);
  struct tm parts {};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, size);
}

std::string JsonOf(const store::ImageList& list) {
  JsonWriter json;
  json.BeginObject().Key("images").BeginArray();
  for (const store::Image& image : list.images) {
    json.BeginObject();
    json.Key("reference").String(image.reference.Familiar());
    json.Key("canonical").String(image.reference.Canonical());
    json.Key("digest").String(image.manifest.ToString());
    json.Key("disk_bytes").Number(image.disk_bytes);
    json.Key("stored_at").String(Date(image.stored_at));
    json.EndObject();
  }
  json.EndArray().Key("broken").BeginArray();
  for (const store::BrokenReference& broken : list.broken) {
    json.BeginObject().Key("name").String(broken.name);
    json.Key("error").String(broken.error.message()).EndObject();
  }
  json.EndArray().EndObject();
  return std::move(json).Take() + "\n";
}

Result<store::ImageList> List() {
  auto home = TRY(sandbox::Home::OpenToRead());
  return TRY(store::Store::Open(home.dir())).List();
}

Result<void> Remove(const std::string& name) {
  auto home = TRY(sandbox::Home::Open());
  auto store = TRY(store::Store::Open(home.dir()));
  // A broken reference is listed by the name of its file, which may be no reference.
  auto resolution = store::Resolve(name);
  if (resolution && TRY(store.Remove(resolution->reference))) return {};
  std::vector<std::string> names;
  auto list = TRY(store.List());
  for (const store::BrokenReference& broken : list.broken) {
    if (broken.name == name && TRY(store.RemoveBroken(name))) return {};
    names.push_back(broken.name);
  }
  for (const store::Image& image : list.images) names.push_back(image.reference.Familiar());
  if (!resolution) return std::move(resolution).error();
  Error error(Code::kNotFound, Cat("image ", resolution->reference.Familiar(), " is not here"));
  if (auto near = Suggest(name, names))
    return std::move(error).Remedy(Cat("did you mean ", *near, "?"));
  return std::move(error).Remedy("run: msb image list");
}

}  // namespace

int RunImageImport(const ImageImportOptions& options) {
  auto program = FindImageProgram();
  if (!program) return Fail(program.error(), Format::kText, kExitNotStarted);
  std::vector<std::string> words = {*program, "import"};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // In our place: its exit code, signals and terminal are the caller's.
  ::execv(program->c_str(), argv.data());
  return Fail(Error::Errno(Cat("exec ", *program)), Format::kText, kExitNotStarted);
}

int RunImageList(const ImageListOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto list = List();
  if (!list) return Fail(list.error(), format, kExitFailed);
  if (options.json) {
    Print(JsonOf(*list));
    return 0;
  }
  for (const store::BrokenReference& broken : list->broken)
    Notice(Cat("msb: image ", broken.name, " cannot be read: ", broken.error.message(),
               "; msb image remove ", broken.name, " removes it"),
           format);
  if (options.quiet) {
    for (const store::Image& image : list->images) Print(image.reference.Familiar() + "\n");
    return 0;
  }
  Table table({"IMAGE", "DIGEST", "SIZE", "STORED"});
  for (const store::Image& image : list->images)
    table.Add({image.reference.Familiar(), image.manifest.Short(), FormatSize(image.disk_bytes),
               Date(image.stored_at)});
  Print(table.Text(UseColor(1)));
  return 0;
}

int RunImageRemove(const ImageRemoveOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  int code = 0;
  JsonWriter json;
  json.BeginObject().Key("removed").BeginArray();
  for (const std::string& name : options.images) {
    auto removed = Remove(name);
    if (!removed) {
      code = Fail(removed.error(), format, kExitFailed);
      continue;
    }
    json.BeginObject().Key("image").String(name).EndObject();
    if (!options.json) Print(name + "\n");
  }
  json.EndArray().EndObject();
  if (options.json) Print(std::move(json).Take() + "\n");
  return code;
}

int RunImageResolve(const ImageResolveOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto resolution = store::Resolve(options.image);
  if (!resolution) return Fail(resolution.error(), format, kExitFailed);
  const store::Reference& reference = resolution->reference;
  if (options.json) {
    JsonWriter json;
    json.BeginObject().Key("reference").String(reference.Familiar());
    json.Key("canonical").String(reference.Canonical()).Key("steps").BeginArray();
    for (const std::string& step : resolution->steps)
      json.BeginObject().Key("step").String(step).EndObject();
    json.EndArray().EndObject();
    Print(std::move(json).Take() + "\n");
    return 0;
  }
  Print(reference.Canonical() + "\n");
  for (const std::string& step : resolution->steps) Print(Cat("  ", step, "\n"));
  return 0;
}

}  // namespace msb::cli
