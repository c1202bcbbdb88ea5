// SPDX-License-Identifier: Apache-2.0
// OCI config and manifest documents, read by field tables and written in a fixed order.
#include "image/store/image_config.h"

#include <algorithm>

#include "base/text.h"
#include "json/codec.h"

namespace msb::store {
namespace {

// The `config` member; its names are Docker's.
struct Execution {
  std::vector<std::string> entrypoint, cmd, env;
  std::string user, working_dir, stop_signal;
  std::map<std::string, std::string> labels;
};

struct Document {
  std::string architecture, os, created;
  Execution config;
};

bool HoldsNul(const std::string& text) { return text.find('\0') != std::string::npos; }

// These strings become arguments, environment and paths of a process, where a NUL would cut them.
Result<void> Check(const Execution& config) {
  std::string_view culprit;
  if (std::any_of(config.entrypoint.begin(), config.entrypoint.end(), HoldsNul))
    culprit = "Entrypoint";
  if (std::any_of(config.cmd.begin(), config.cmd.end(), HoldsNul)) culprit = "Cmd";
  if (std::any_of(config.env.begin(), config.env.end(), HoldsNul)) culprit = "Env";
  if (HoldsNul(config.user)) culprit = "User";
  if (HoldsNul(config.working_dir)) culprit = "WorkingDir";
  if (!culprit.empty())
    return Error(Code::kInvalidArgument, Cat("config.", culprit, ": holds a NUL"));
  for (const std::string& variable : config.env)
    if (variable.find('=') == std::string::npos || variable.front() == '=')
      return Error(Code::kInvalidArgument,
                   Cat("config.Env: \"", Escape(variable, 80), "\" is not NAME=value"));
  return {};
}

template <class T>
void WriteMember(JsonWriter& json, std::string_view name, const T& value) {
  if (value.empty()) return;
  json.Key(name);
  json::Codec<T>::Write(value, json);
}

void WriteDescriptor(JsonWriter& json, const Descriptor& descriptor) {
  json.BeginObject();
  json.Key("mediaType").String(descriptor.media_type);
  json.Key("digest").String(descriptor.digest.ToString());
  json.Key("size").Number(descriptor.size);
  json.EndObject();
}

}  // namespace
}  // namespace msb::store

namespace msb::json {

template <>
struct Fields<store::Execution> {
  using T = store::Execution;
  static constexpr auto kTable = std::array{Optional<&T::entrypoint>("Entrypoint"),
                                            Optional<&T::cmd>("Cmd"),
                                            Optional<&T::env>("Env"),
                                            Optional<&T::user>("User"),
                                            Optional<&T::working_dir>("WorkingDir"),
                                            Optional<&T::labels>("Labels"),
                                            Optional<&T::stop_signal>("StopSignal")};
};
template <>
struct Fields<store::Document> {
  using T = store::Document;
  static constexpr auto kTable =
      std::array{Required<&T::architecture>("architecture"), Required<&T::os>("os"),
                 Optional<&T::created>("created"), Optional<&T::config>("config")};
};

}  // namespace msb::json

namespace msb::store {

std::vector<std::string> DefaultCommand(const ImageConfig& config) {
  std::vector<std::string> command = config.entrypoint;
  command.insert(command.end(), config.cmd.begin(), config.cmd.end());
  return command;
}

Result<ImageConfig> ParseImageConfig(std::string_view json) {
  auto read = json::Decode<Document>(
      json, {.max_bytes = size_t{4} << 20, .unknown_fields = json::UnknownFields::kIgnore});
  if (!read) return std::move(read).error();
  Document& document = *read;
  Execution& config = document.config;
  TRY(Check(config));
  return ImageConfig{.entrypoint = std::move(config.entrypoint),
                     .cmd = std::move(config.cmd),
                     .env = std::move(config.env),
                     .user = std::move(config.user),
                     .working_dir = std::move(config.working_dir),
                     .labels = std::move(config.labels),
                     .stop_signal = std::move(config.stop_signal),
                     .architecture = std::move(document.architecture),
                     .os = std::move(document.os),
                     .created = std::move(document.created)};
}

std::string WriteImageConfig(const ImageConfig& config, const Descriptor& layer) {
  JsonWriter json;
  json.BeginObject();
  WriteMember(json, "created", config.created);
  json.Key("architecture").String(config.architecture);
  json.Key("os").String(config.os);
  json.Key("config").BeginObject();
  WriteMember(json, "User", config.user);
  WriteMember(json, "Env", config.env);
  WriteMember(json, "Entrypoint", config.entrypoint);
  WriteMember(json, "Cmd", config.cmd);
  WriteMember(json, "WorkingDir", config.working_dir);
  WriteMember(json, "Labels", config.labels);
  WriteMember(json, "StopSignal", config.stop_signal);
  json.EndObject();
  json.Key("rootfs").BeginObject();
  json.Key("type").String("layers");
  json.Key("diff_ids").BeginArray().String(layer.digest.ToString()).EndArray();
  json.EndObject();
  json.EndObject();
  return std::move(json).Take();
}

std::string WriteManifest(const Descriptor& config, const Descriptor& layer) {
  JsonWriter json;
  json.BeginObject();
  json.Key("schemaVersion").Number(2);
  json.Key("mediaType").String(kManifestMediaType);
  json.Key("config");
  WriteDescriptor(json, config);
  json.Key("layers").BeginArray();
  WriteDescriptor(json, layer);
  json.EndArray();
  json.EndObject();
  return std::move(json).Take();
}

}  // namespace msb::store
