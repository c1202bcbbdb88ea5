// SPDX-License-Identifier: Apache-2.0
// Document::Parse: Boost.JSON's incremental parser, filling our own tree.
//
// The event interface instead of boost::json::value: a duplicate key is seen (value would keep the
// last in silence), every limit is checked before the memory is taken, and no Boost type leaves
// this file.
#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>

#include "json/node.h"
#include "json/value.h"

namespace msb::json {
namespace {

namespace bj = boost::json;

// One container that is being filled.
struct Frame {
  Node::Array array;
  std::unique_ptr<Node::Object> object;  // Null in an array.
};

bool HasDuplicate(const std::vector<std::string>& names, std::string& which) {
  std::vector<std::string_view> sorted(names.begin(), names.end());
  std::sort(sorted.begin(), sorted.end());
  auto twin = std::adjacent_find(sorted.begin(), sorted.end());
  if (twin == sorted.end()) return false;
  which = *twin;
  return true;
}

// What basic_parser calls, by the names it demands. `false` stops the parse; `ec` says so.
class Builder {
 public:
  // basic_parser's own limits; ours is the number of bytes, checked before it starts.
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;

  explicit Builder(size_t max_values) : max_values_(max_values) {}

  std::unique_ptr<Node> TakeRoot() { return std::move(root_); }
  const std::string& complaint() const { return complaint_; }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }

  bool on_object_begin(bj::error_code&) {
    stack_.push_back({{}, std::make_unique<Node::Object>()});
    return true;
  }
  bool on_object_end(size_t, bj::error_code& ec) {
    auto object = std::move(stack_.back().object);
    stack_.pop_back();
    std::string which;
    if (HasDuplicate(object->names, which)) return Refuse("duplicate field \"" + which + "\"", ec);
    return Add({std::move(object)}, ec);
  }
  bool on_array_begin(bj::error_code&) {
    stack_.push_back({});
    return true;
  }
  bool on_array_end(size_t, bj::error_code& ec) {
    auto array = std::move(stack_.back().array);
    stack_.pop_back();
    return Add({std::move(array)}, ec);
  }

  bool on_key_part(bj::string_view part, size_t, bj::error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_key(bj::string_view part, size_t size, bj::error_code& ec) {
    on_key_part(part, size, ec);
    stack_.back().object->names.push_back(std::exchange(text_, {}));
    return true;
  }
  bool on_string_part(bj::string_view part, size_t, bj::error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_string(bj::string_view part, size_t size, bj::error_code& ec) {
    on_string_part(part, size, ec);
    return Add({std::exchange(text_, {})}, ec);
  }

  bool on_number_part(bj::string_view, bj::error_code&) { return true; }
  bool on_int64(int64_t value, bj::string_view, bj::error_code& ec) { return Add({value}, ec); }
  bool on_uint64(uint64_t value, bj::string_view, bj::error_code& ec) { return Add({value}, ec); }
  bool on_double(double value, bj::string_view, bj::error_code& ec) { return Add({value}, ec); }
  bool on_bool(bool value, bj::error_code& ec) { return Add({value}, ec); }
  bool on_null(bj::error_code& ec) { return Add({}, ec); }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }

 private:
  bool Refuse(std::string why, bj::error_code& ec) {
    complaint_ = std::move(why);
    ec = bj::make_error_code(bj::error::syntax);
    return false;
  }

  bool Add(Node node, bj::error_code& ec) {
    if (++values_ > max_values_)
      return Refuse("more than " + std::to_string(max_values_) + " values", ec);
    if (stack_.empty())
      root_ = std::make_unique<Node>(std::move(node));
    else if (Frame& top = stack_.back(); top.object)
      top.object->values.push_back(std::move(node));
    else
      top.array.push_back(std::move(node));
    return true;
  }

  size_t max_values_;
  size_t values_ = 0;
  std::vector<Frame> stack_;
  std::string text_;  // The key or string being read.
  std::unique_ptr<Node> root_;
  std::string complaint_;
};

std::string Place(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, std::min(offset, text.size()));
  auto lines = std::count(before.begin(), before.end(), '\n');
  size_t start = before.rfind('\n');
  size_t column = start == std::string_view::npos ? before.size() : before.size() - start - 1;
  return "line " + std::to_string(lines + 1) + ", column " + std::to_string(column + 1);
}

}  // namespace

Result<Document> Document::Parse(std::string_view text, const ParseOptions& options) {
  if (text.size() > options.max_bytes)
    return Error(Code::kInvalidArgument, "JSON of " + std::to_string(text.size()) +
                                             " bytes; at most " +
                                             std::to_string(options.max_bytes) + " are read");
  bj::parse_options how;
  how.max_depth = options.max_depth;
  bj::basic_parser<Builder> parser(how, options.max_values);
  bj::error_code ec;
  size_t used = parser.write_some(false, text.data(), text.size(), ec);
  // Whitespace at the end is consumed; anything else there is a second document.
  if (!ec && used < text.size()) ec = bj::make_error_code(bj::error::extra_data);
  if (ec) {
    const std::string& complaint = parser.handler().complaint();
    return Error(Code::kInvalidArgument, "not JSON we accept: " + Place(text, used) + ": " +
                                             (complaint.empty() ? ec.message() : complaint));
  }
  return Document(parser.handler().TakeRoot(), options.unknown_fields);
}

}  // namespace msb::json
