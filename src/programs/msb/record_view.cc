// SPDX-License-Identifier: Apache-2.0
// Reads a record's JSON as far as we need it.

#include "programs/msb/record_view.h"

#include "base/json_writer.h"
#include "base/text.h"
#include "json/value.h"

namespace msb::cli {

namespace {

std::string TextField(const json::Value& object, std::string_view name) {
  auto field = object.FindField(name);
  if (!field || !*field) return "";
  auto text = (*field)->String();
  return text ? *text : "";
}

// A copy of the value, token by token.
void Copy(const json::Value& value, JsonWriter& out) {
  switch (value.kind()) {
    case json::Kind::kNull:
      out.Null();
      return;
    case json::Kind::kBool:
      out.Bool(*value.Bool());
      return;
    case json::Kind::kInteger: {
      auto number = value.Integer();
      if (number)
        out.Number(*number);
      else if (auto large = value.Unsigned())
        out.Number(*large);
      else
        out.Null();
      return;
    }
    case json::Kind::kNumber:
      out.Raw(std::to_string(*value.Number()));
      return;
    case json::Kind::kString:
      out.String(*value.String());
      return;
    case json::Kind::kArray: {
      out.BeginArray();
      auto items = value.Items();
      for (const json::Value& item : *items) Copy(item, out);
      out.EndArray();
      return;
    }
    case json::Kind::kObject: {
      out.BeginObject();
      auto names = value.Names();
      for (const std::string& name : *names) {
        out.Key(name);
        Copy(*value.Field(name), out);
      }
      out.EndObject();
      return;
    }
  }
}

}  // namespace

RecordView ViewRecord(std::string_view record_json) {
  RecordView view;
  auto document = json::Document::Parse(record_json);
  if (!document || document->root().kind() != json::Kind::kObject) return view;
  json::Value root = document->root();
  view.id = TextField(root, "id");
  view.name = TextField(root, "name");
  view.isolation = TextField(root, "isolation");
  if (auto missing = root.FindField("missing_limits"); missing && *missing)
    if (auto items = (*missing)->Items())
      for (const json::Value& item : *items)
        if (auto text = item.String()) view.missing_limits.push_back(*text);
  auto startup = root.FindField("start");
  if (startup && *startup) {
    JsonWriter out;
    Copy(**startup, out);
    view.startup_json = std::move(out).Take();
  }
  return view;
}

std::string LimitsNote(const RecordView& record) {
  if (record.missing_limits.empty()) return "";
  return Cat("limits not set: ", Join(record.missing_limits, "; "), " (msb inspect ",
             record.name.empty() ? record.id : record.name, ")");
}

}  // namespace msb::cli
