// SPDX-License-Identifier: Apache-2.0
// Errors and tables as people and scripts see them.

#include "programs/msb/ui.h"

#include <gtest/gtest.h>

#include "json/value.h"
#include "programs/msb/record_view.h"

namespace msb::cli {
namespace {

TEST(FormatError, SaysTheMessageAndThenTheRemedy) {
  Error error = Error(Code::kNotFound, "image a is not here").Remedy("run: msb image import a DIR");
  EXPECT_EQ(FormatError(error, Format::kText),
            "msb: image a is not here\n  fix: run: msb image import a DIR\n");
  EXPECT_EQ(FormatError(Error(Code::kNotFound, "no"), Format::kText), "msb: no\n");
}

TEST(FormatError, KeepsControlBytesFromTheTerminal) {
  std::string text = FormatError(Error(Code::kInternal, "a\033]0;x\007\nb"), Format::kText);
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
}

TEST(FormatError, IsOneJsonObjectOnALine) {
  Error error = Error(Code::kNotFound, "a \"b\"\n").Remedy("do");
  auto document = json::Document::Parse(FormatError(error, Format::kJson));
  ASSERT_TRUE(document.ok());
  json::Value object = *document->root().Field("error");
  EXPECT_EQ(*object.Field("code")->String(), "not_found");
  EXPECT_EQ(*object.Field("message")->String(), "a \"b\"\n");
  EXPECT_EQ(*object.Field("remedy")->String(), "do");
}

TEST(FormatError, HasNullWhereNoRemedyIsKnown) {
  auto document = json::Document::Parse(FormatError(Error(Code::kInternal, "x"), Format::kJson));
  ASSERT_TRUE(document.ok());
  EXPECT_TRUE(document->root().Field("error")->Field("remedy")->is_null());
}

TEST(Table, LinesUpAndEndsWithoutSpaces) {
  Table table({"ID", "NAME", "STATE"});
  table.Add({"a1b2", "-", "running"});
  table.Add({"c", "long-name", "up"});
  EXPECT_EQ(table.Text(false),
            "ID    NAME       STATE\n"
            "a1b2  -          running\n"
            "c     long-name  up\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({"A", "B"});
  table.Add({"\xC3\xA4\xC3\xB6", "x"});
  EXPECT_EQ(table.Text(false), "A   B\n\xC3\xA4\xC3\xB6  x\n");
}

TEST(Table, IsBoldOnlyWhenAskedTo) {
  Table table({"A"});
  EXPECT_EQ(table.Text(false).find('\033'), std::string::npos);
  EXPECT_EQ(table.Text(true), "\033[1mA\033[0m\n");
}

TEST(LimitsNote, IsOneLineOrNothing) {
  EXPECT_EQ(LimitsNote(ViewRecord(R"({"id":"abc","missing_limits":[]})")), "");
  EXPECT_EQ(LimitsNote(ViewRecord("rubbish")), "");
  EXPECT_EQ(LimitsNote(ViewRecord(R"({"id":"abc","missing_limits":["cpu: why","pids: so"]})")),
            "limits not set: cpu: why; pids: so (msb inspect abc)");
  EXPECT_EQ(LimitsNote(ViewRecord(R"({"id":"abc","name":"web","missing_limits":["cpu: why"]})")),
            "limits not set: cpu: why (msb inspect web)");
}

}  // namespace
}  // namespace msb::cli
