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

TEST(SubordinateIds, LinesThatShareIdsGiveOneRange) {
  auto parse = [](std::string_view text) { return ParseSubordinateIds(text, "a", 1); };
  EXPECT_THAT(parse("a:100:50\na:140:50"), ElementsAre(SubordinateRange{100, 90}));
  EXPECT_THAT(parse("a:140:50\na:100:50"), ElementsAre(SubordinateRange{100, 90}));
  EXPECT_THAT(parse("a:100:50\na:110:10"), ElementsAre(SubordinateRange{100, 50}));
  EXPECT_THAT(parse("a:110:10\na:100:50\n1:100:50"), ElementsAre(SubordinateRange{100, 50}));
  EXPECT_THAT(parse("a:100:50\na:150:50"),
              ElementsAre(SubordinateRange{100, 50}, SubordinateRange{150, 50}));
  // One that joins several, in the place of the first.
  EXPECT_THAT(parse("a:900:10\na:100:10\na:500:10\na:200:10\na:105:100"),
              ElementsAre(SubordinateRange{900, 10}, SubordinateRange{100, 110},
                          SubordinateRange{500, 10}));
  EXPECT_THAT(parse("a:4294967290:4\na:1:4294967294"),
              ElementsAre(SubordinateRange{1, 4294967294}));
}

TEST(SubordinateIds, AFileOfManyLinesGivesAFew) {
  std::string text;
  for (uint32_t i = 1; i <= 1000; i++) text += Cat("alice:", i * 100, ":100\n");
  EXPECT_EQ(ParseSubordinateIds(text, "alice", 1).size(), kMostSubordinateRanges);
}

TEST(SubordinateIds, AUserIsFoundInPasswd) {
  std::string_view text =
      "root:x:0:0:root:/root:/bin/sh\n:x:7:7::/:\nshort:x\nbare:x:9\nalice:x:1000:1000:A,B:/home/a";
  EXPECT_EQ(FindPasswdUser(text, 0)->name, "root");
  EXPECT_EQ(FindPasswdUser(text, 0)->home, "/root");
  EXPECT_EQ(FindPasswdUser(text, 1000)->name, "alice");
  EXPECT_EQ(FindPasswdUser(text, 1000)->home, "/home/a");
  EXPECT_EQ(FindPasswdUser(text, 9)->home, "");
  EXPECT_FALSE(FindPasswdUser(text, 7));
  EXPECT_FALSE(FindPasswdUser(text, 1));
}

}  // namespace
}  // namespace msb::jail
