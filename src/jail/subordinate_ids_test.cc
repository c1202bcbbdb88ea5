// SPDX-License-Identifier: Apache-2.0
#include "jail/subordinate_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace msb::jail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SubordinateIds, AreThoseOfTheUsersNameOrNumber) {
  std::string_view text =
      "# who has what\nbob:100000:65536\nalice:165536:65536\n1000:300000:10\n1001:1:1\n\nalice:7:1";
  EXPECT_THAT(ParseSubordinateIds(text, "alice", 1000),
              ElementsAre(SubordinateRange{165536, 65536}, SubordinateRange{300000, 10},
                          SubordinateRange{7, 1}));
  EXPECT_THAT(ParseSubordinateIds(text, "", 1001), ElementsAre(SubordinateRange{1, 1}));
  EXPECT_THAT(ParseSubordinateIds(text, "", 5), IsEmpty());
}

TEST(SubordinateIds, LinesOfAnotherShapeGiveNothing) {
  for (const char* line :
       {"", "alice", "alice:1", "alice:1:1:1", "alice::1", "alice:1:", "alice:x:1", "alice:1:-1",
        "alice: 1:1", "alice:0:65536", "alice:1:0", "alice:4294967295:1", "alice:1:4294967295",
        "alice:4294967296:1", "alice:99999999999999999999:1", ":1:1", "alice2:1:1", "Alice:1:1"})
    EXPECT_THAT(ParseSubordinateIds(line, "alice", 1000), IsEmpty()) << line;
  EXPECT_THAT(ParseSubordinateIds(":1:1", "", 1000), IsEmpty());
  EXPECT_THAT(ParseSubordinateIds("alice:4294967294:1", "alice", 1000),
              ElementsAre(SubordinateRange{4294967294, 1}));
}

TEST(SubordinateIds, AFileOfManyLinesGivesAFew) {
  std::string text;
  for (uint32_t i = 1; i <= 1000; i++) text += Cat("alice:", i * 100, ":100\n");
  EXPECT_EQ(ParseSubordinateIds(text, "alice", 1).size(), kMostSubordinateRanges);
}

TEST(SubordinateIds, AUserIsNamedByPasswd) {
  std::string_view text =
      "root:x:0:0:root:/root:/bin/sh\n:x:7:7::/:\nshort:x\nalice:x:1000:1000::/:";
  EXPECT_EQ(NameOfUser(text, 0), "root");
  EXPECT_EQ(NameOfUser(text, 1000), "alice");
  EXPECT_EQ(NameOfUser(text, 7), "");
  EXPECT_EQ(NameOfUser(text, 1), "");
}

}  // namespace
}  // namespace msb::jail
