// SPDX-License-Identifier: Apache-2.0
// Reading JSON: Document parses once and owns, Value is a place in it that knows its own path.
//
// The parser is strict (RFC 8259, UTF-8 checked), refuses duplicate keys, and has limits on bytes,
// depth and number of values, so what a stranger sends costs a bounded amount of memory.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace msb::json {

enum class Kind : uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };
std::string_view KindName(Kind kind);

// What the field-table decoder does with a field that no table names: requests and our own files
// refuse it, other people's documents (OCI manifests, answers of servers) may carry more.
enum class UnknownFields : uint8_t { kRefuse, kIgnore };

struct ParseOptions {
  size_t max_bytes = size_t{1} << 20;
  size_t max_depth = 32;
  size_t max_values = size_t{1} << 16;
  UnknownFields unknown_fields = UnknownFields::kRefuse;
};

struct Node;

// A place in a Document, which must outlive it. Every error of a getter begins with the path:
// "config.cpus: expected integer, got string".
class Value {
 public:
  Kind kind() const;
  bool is_null() const { return kind() == Kind::kNull; }
  // "config.args[2]"; empty at the root.
  const std::string& path() const { return path_; }
  UnknownFields unknown_fields() const { return unknown_; }

  Result<bool> Bool() const;
  Result<int64_t> Integer() const;
  Result<uint64_t> Unsigned() const;
  Result<double> Number() const;  // Integers too.
  Result<std::string> String() const;

  // Of an array; the values in order.
  Result<std::vector<Value>> Items() const;
  // Of an object; the names in the order of the text.
  Result<std::vector<std::string>> Names() const;
  // Of an object; the error is for a value that is none, absence is nullopt.
  Result<std::optional<Value>> FindField(std::string_view name) const;
  // Of an object; absence is an error.
  Result<Value> Field(std::string_view name) const;

  // An error about this value in the getters' form: "path: what".
  Error Complaint(std::string_view what) const;

 private:
  friend class Document;
  Value(const Node* node, std::string path, UnknownFields unknown)
      : node_(node), path_(std::move(path)), unknown_(unknown) {}
  Result<const Node*> Expect(Kind kind) const;
  Value Child(const Node* node, std::string_view name) const;

  const Node* node_;
  std::string path_;
  UnknownFields unknown_;
};

class Document {
 public:
  static Result<Document> Parse(std::string_view text, const ParseOptions& options = {});

  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();

  Value root() const { return {root_.get(), "", unknown_}; }

 private:
  Document(std::unique_ptr<Node> root, UnknownFields unknown);

  std::unique_ptr<Node> root_;
  UnknownFields unknown_;
};

}  // namespace msb::json
