// SPDX-License-Identifier: Apache-2.0
// The layout of pretty JSON and the tokens of numbers.
#include "json/pretty.h"

#include <gtest/gtest.h>

#include <limits>

namespace msb::json {
namespace {

TEST(Pretty, PutsEachMemberOnItsLine) {
  EXPECT_EQ(Pretty(R"({"a":[1,{"b":null}],"c":{},"d":[]})"),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"c\": {},\n"
            "  \"d\": []\n}");
}

TEST(Pretty, LeavesStringsAlone) {
  EXPECT_EQ(Pretty(R"(["{,:\"[]\\",","])"), "[\n  \"{,:\\\"[]\\\\\",\n  \",\"\n]");
}

TEST(NumberToken, IsTheShortestThatReadsBack) {
  EXPECT_EQ(NumberToken(0.1), "0.1");
  EXPECT_EQ(NumberToken(-2), "-2");
  EXPECT_EQ(NumberToken(std::numeric_limits<double>::infinity()), "null");
}

TEST(Quote, RepairsWhatIsNotUtf8) { EXPECT_EQ(Quote("a\xff\"b"), "\"a\xef\xbf\xbd\\\"b\""); }

}  // namespace
}  // namespace msb::json
