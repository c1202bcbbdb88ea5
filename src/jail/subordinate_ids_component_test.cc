// SPDX-License-Identifier: Apache-2.0
// Claims with real locks, and helpers that are scripts of the test's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/text.h"
#include "jail/subordinate_ids.h"
#include "sys/file.h"

namespace msb::jail {
namespace {

using testing::HasSubstr;

class Claims : public testing::Test {
 protected:
  Claims() {
    char name[] = "/tmp/msb-subordinate-XXXXXX";
    top_ = ::mkdtemp(name);
    source_ = {.subuid = top_ + "/subuid",
               .subgid = top_ + "/subgid",
               .passwd = top_ + "/passwd",
               .helpers = {top_ + "/nosuch", top_},
               .directory = top_ + "/run"};
    for (const char* helper : {"/newuidmap", "/newgidmap"}) {
      std::ofstream(top_ + helper) << "#!/bin/sh\n";
      EXPECT_EQ(::chmod((top_ + helper).c_str(), 0755), 0);
    }
  }
  ~Claims() override { (void)sys::RemoveTreeAt(sys::Cwd(), top_); }
  void Give(uint32_t uids, uint32_t gids) {
    std::ofstream(source_.subuid) << ::getuid() << ":100000:" << uids << '\n';
    std::ofstream(source_.subgid) << ::getuid() << ":700000:" << gids << '\n';
  }

  std::string top_;
  SubordinateSource source_;
};

TEST_F(Claims, PartsOfALargeRangeAreOneSandboxsOwnAsLongAsThereAreAny) {
  Give(3 * kSubordinateChunk, 4 * kSubordinateChunk);
  auto first = ClaimSubordinateIds(source_);
  auto second = ClaimSubordinateIds(source_);
  auto third = ClaimSubordinateIds(source_);
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  EXPECT_TRUE(first->lock && second->lock);
  EXPECT_EQ(first->first_uid, 100000 + kSubordinateChunk);
  EXPECT_EQ(first->first_gid, 700000 + kSubordinateChunk);
  EXPECT_EQ(second->first_uid, 100000 + 2 * kSubordinateChunk);
  EXPECT_EQ(first->count, kSubordinateChunk - 1);
  EXPECT_FALSE(third->lock);
  EXPECT_EQ(third->first_uid, 100000u);
  first->lock.Reset();
  EXPECT_EQ(ClaimSubordinateIds(source_)->first_uid, 100000 + kSubordinateChunk);
}

TEST_F(Claims, OneRangeOfTheUsualSizeIsShared) {
  Give(kSubordinateChunk, 2 * kSubordinateChunk);
  auto ids = ClaimSubordinateIds(source_);
  ASSERT_TRUE(ids.ok());
  EXPECT_FALSE(ids->lock);
  EXPECT_EQ(ids->first_uid, 100000u);
  EXPECT_EQ(ids->count, kSubordinateChunk - 1);
  Give(10, 20);
  EXPECT_EQ(ClaimSubordinateIds(source_)->count, 10u);
}

TEST_F(Claims, WithoutAPlaceForLocksTheyAreShared) {
  Give(3 * kSubordinateChunk, 3 * kSubordinateChunk);
  ASSERT_EQ(::mkdir(source_.directory.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(source_.directory.c_str(), 0755), 0);
  auto ids = ClaimSubordinateIds(source_);
  ASSERT_TRUE(ids.ok());
  EXPECT_FALSE(ids->lock);
  EXPECT_EQ(ids->first_uid, 100000u);
}

TEST_F(Claims, SayWhatIsMissing) {
  auto none = ClaimSubordinateIds(source_);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message(), HasSubstr(source_.subuid));
  EXPECT_THAT(none.error().remedy(), HasSubstr("--add-subuids"));
  Give(65536, 65536);
  ASSERT_EQ(::unlink(source_.subgid.c_str()), 0);
  EXPECT_THAT(ClaimSubordinateIds(source_).error().message(), HasSubstr(source_.subgid));
  Give(65536, 65536);
  ASSERT_EQ(::unlink((top_ + "/newgidmap").c_str()), 0);
  auto helper = ClaimSubordinateIds(source_);
  ASSERT_FALSE(helper.ok());
  EXPECT_THAT(helper.error().message(), HasSubstr("newgidmap is missing"));
  EXPECT_THAT(helper.error().remedy(), HasSubstr("uidmap"));
}

TEST_F(Claims, AHelperThatRefusesIsNamedWithItsWords) {
  std::ofstream(top_ + "/newuidmap") << "#!/bin/sh\necho \"no, $*\" >&2\necho more >&2\nexit 1\n";
  Give(65536, 65536);
  auto ids = ClaimSubordinateIds(source_);
  ASSERT_TRUE(ids.ok());
  auto mapped = MapSubordinateIds(4711, 1000, 1001, *ids);
  ASSERT_FALSE(mapped.ok());
  EXPECT_THAT(mapped.error().message(), HasSubstr("/newuidmap: no, 4711 0 1000 1 1 100000 65535"));
  EXPECT_THAT(mapped.error().message(), testing::Not(HasSubstr("more")));
  std::ofstream(top_ + "/newuidmap") << "#!/bin/sh\n";
  EXPECT_TRUE(MapSubordinateIds(4711, 1000, 1001, *ids).ok());
}

}  // namespace
}  // namespace msb::jail
