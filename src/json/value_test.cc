// SPDX-License-Identifier: Apache-2.0
// What the reader accepts, refuses, and says.
#include "json/value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::json {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Document Parsed(std::string_view text) {
  auto document = Document::Parse(text);
  EXPECT_TRUE(document.ok()) << (document.ok() ? "" : document.error().message());
  return *std::move(document);
}

std::string Refusal(std::string_view text, const ParseOptions& options = {}) {
  auto document = Document::Parse(text, options);
  return document.ok() ? "accepted" : document.error().message();
}

TEST(Value, ReadsEveryKind) {
  Document document = Parsed(
      R"({"n":null,"b":true,"i":-7,"u":18446744073709551615,"d":1.5,"s":"é\n","a":[1,[2]]})");
  Value root = document.root();
  EXPECT_TRUE((*root.Field("n")).is_null());
  EXPECT_EQ(*(*root.Field("b")).Bool(), true);
  EXPECT_EQ(*(*root.Field("i")).Integer(), -7);
  EXPECT_EQ(*(*root.Field("u")).Unsigned(), UINT64_MAX);
  EXPECT_EQ(*(*root.Field("d")).Number(), 1.5);
  EXPECT_EQ(*(*root.Field("i")).Number(), -7.0);
  EXPECT_EQ(*(*root.Field("s")).String(), "é\n");
  EXPECT_EQ((*root.Field("a")).Items()->size(), 2U);
  EXPECT_THAT(*root.Names(), ElementsAre("n", "b", "i", "u", "d", "s", "a"));
}

TEST(Value, NamesThePathInItsErrors) {
  Document document = Parsed(R"({"config":{"cpus":"two","args":["a",1]}})");
  Value config = *document.root().Field("config");
  EXPECT_EQ((*config.Field("cpus")).Integer().error().message(),
            "config.cpus: expected integer, got string");
  Value second = (*(*config.Field("args")).Items())[1];
  EXPECT_EQ(second.String().error().message(), "config.args[1]: expected string, got integer");
  EXPECT_EQ(config.Field("memory").error().message(), "config.memory: missing");
  EXPECT_FALSE(config.FindField("memory")->has_value());
}

TEST(Value, RefusesIntegersThatDoNotFit) {
  Document document = Parsed(R"([18446744073709551615,-1,1.0,1e400])");
  std::vector<Value> items = *document.root().Items();
  EXPECT_EQ(items[0].Integer().error().message(), "[0]: integer is too large");
  EXPECT_EQ(items[1].Unsigned().error().message(), "[1]: must not be negative");
  EXPECT_EQ(items[2].Integer().error().message(), "[2]: expected integer, got number");
}

TEST(Document, RefusesDuplicateFieldsAtAnyDepth) {
  EXPECT_THAT(Refusal(R"({"a":1,"b":2,"a":3})"), HasSubstr("duplicate field \"a\""));
  EXPECT_THAT(Refusal(R"({"x":[{"k":1,"\u006b":2}]})"), HasSubstr("duplicate field \"k\""));
}

TEST(Document, KeepsItsLimits) {
  EXPECT_THAT(Refusal("[1,2,3]", {.max_bytes = 6}), HasSubstr("at most 6 are read"));
  EXPECT_THAT(Refusal("[1,2,3]", {.max_values = 3}), HasSubstr("more than 3 values"));
  EXPECT_EQ(Refusal("[[[1]]]", {.max_depth = 3}), "accepted");
  EXPECT_THAT(Refusal("[[[[1]]]]", {.max_depth = 3}), HasSubstr("column 4"));
  EXPECT_NE(Refusal(std::string(3'000'000, '['), {.max_bytes = 4'000'000}), "accepted");
}

TEST(Document, SaysWhereTheSyntaxBreaks) {
  EXPECT_THAT(Refusal("{\n  \"a\": 1,\n  b\n}"), HasSubstr("line 3, column 3"));
}

TEST(Document, RefusesWhatIsNotJson) {
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "nul", "01", "1 2", "'a'", "// c\n1", "\"\x80\"",
        "\"\\ud800\"", "\"a\nb\"", "NaN", "[1]x", "{\"a\"}", "\"\xed\xa0\x80\""})
    EXPECT_NE(Refusal(text), "accepted") << text;
}

TEST(Document, AcceptsWhiteSpaceAround) { EXPECT_EQ(Refusal("\n {} \n"), "accepted"); }

}  // namespace
}  // namespace msb::json
