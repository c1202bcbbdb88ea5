// SPDX-License-Identifier: Apache-2.0
// The getters of Value, each naming the path in its error.
#include "json/value.h"

#include "json/node.h"

namespace msb::json {
namespace {

template <class T>
const T* As(const Node* node) {
  return std::get_if<T>(&node->value);
}

const Node::Object* AsObject(const Node* node) {
  const auto* held = As<std::unique_ptr<Node::Object>>(node);
  return held == nullptr ? nullptr : held->get();
}

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return "boolean";
    case Kind::kInteger:
      return "integer";
    case Kind::kNumber:
      return "number";
    case Kind::kString:
      return "string";
    case Kind::kArray:
      return "array";
    case Kind::kObject:
      return "object";
  }
  return "unknown";
}

Kind Value::kind() const {
  // In the order of the variant.
  static constexpr Kind kKinds[] = {Kind::kNull,   Kind::kBool,   Kind::kInteger, Kind::kInteger,
                                    Kind::kNumber, Kind::kString, Kind::kArray,   Kind::kObject};
  return kKinds[node_->value.index()];
}

Error Value::Complaint(std::string_view what) const {
  std::string text = path_;
  if (!text.empty()) text += ": ";
  text += what;
  return {Code::kInvalidArgument, std::move(text)};
}

Result<const Node*> Value::Expect(Kind expected) const {
  if (kind() == expected) return node_;
  std::string text = "expected ";
  text += KindName(expected);
  text += ", got ";
  text += KindName(kind());
  return Complaint(text);
}

Value Value::Child(const Node* node, std::string_view name) const {
  std::string path = path_;
  if (!path.empty()) path += '.';
  path += name;
  return {node, std::move(path), unknown_};
}

Result<bool> Value::Bool() const {
  TRY(Expect(Kind::kBool));
  return *As<bool>(node_);
}

Result<int64_t> Value::Integer() const {
  TRY(Expect(Kind::kInteger));
  if (const auto* integer = As<int64_t>(node_)) return *integer;
  return Complaint("integer is too large");
}

Result<uint64_t> Value::Unsigned() const {
  TRY(Expect(Kind::kInteger));
  if (const auto* large = As<uint64_t>(node_)) return *large;
  int64_t integer = *As<int64_t>(node_);
  if (integer < 0) return Complaint("must not be negative");
  return static_cast<uint64_t>(integer);
}

Result<double> Value::Number() const {
  if (const auto* number = As<double>(node_)) return *number;
  if (const auto* integer = As<int64_t>(node_)) return static_cast<double>(*integer);
  if (const auto* large = As<uint64_t>(node_)) return static_cast<double>(*large);
  TRY(Expect(Kind::kNumber));
  return Complaint("expected number");
}

Result<std::string> Value::String() const {
  TRY(Expect(Kind::kString));
  return *As<std::string>(node_);
}

Result<std::vector<Value>> Value::Items() const {
  TRY(Expect(Kind::kArray));
  const Node::Array& items = *As<Node::Array>(node_);
  std::vector<Value> values;
  values.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    values.push_back(Value(&items[i], path_ + "[" + std::to_string(i) + "]", unknown_));
  return values;
}

Result<std::vector<std::string>> Value::Names() const {
  TRY(Expect(Kind::kObject));
  return AsObject(node_)->names;
}

Result<std::optional<Value>> Value::FindField(std::string_view name) const {
  TRY(Expect(Kind::kObject));
  const Node::Object& object = *AsObject(node_);
  for (size_t i = 0; i < object.names.size(); ++i)
    if (object.names[i] == name) return std::optional<Value>(Child(&object.values[i], name));
  return std::optional<Value>();
}

Result<Value> Value::Field(std::string_view name) const {
  std::optional<Value> found = TRY(FindField(name));
  if (!found) return Child(node_, name).Complaint("missing");
  return *std::move(found);
}

Document::Document(std::unique_ptr<Node> root, UnknownFields unknown)
    : root_(std::move(root)), unknown_(unknown) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

}  // namespace msb::json
