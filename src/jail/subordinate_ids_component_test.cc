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
  EXPECT_TRUE(first->own && second->own);
  EXPECT_EQ(first->span.first_uid, 100000 + kSubordinateChunk);
  EXPECT_EQ(first->span.first_gid, 700000 + kSubordinateChunk);
  EXPECT_EQ(second->span.first_uid, 100000 + 2 * kSubordinateChunk);
  EXPECT_EQ(first->span.count, kSubordinateChunk - 1);
  EXPECT_FALSE(third->own);
  EXPECT_EQ(third->span.first_uid, 100000u);
  EXPECT_EQ(third->span.first_gid, 700000u);
  first->lock.Reset();
  EXPECT_EQ(ClaimSubordinateIds(source_)->span.first_uid, 100000 + kSubordinateChunk);
}

TEST_F(Claims, OneRangeOfTheUsualSizeIsShared) {
  Give(kSubordinateChunk, 2 * kSubordinateChunk);
  auto ids = ClaimSubordinateIds(source_);
  ASSERT_TRUE(ids.ok());
  EXPECT_FALSE(ids->own);
  EXPECT_EQ(ids->span.first_uid, 100000u);
  EXPECT_EQ(ids->span.count, kSubordinateChunk - 1);
  Give(10, 20);
  EXPECT_EQ(ClaimSubordinateIds(source_)->span.count, 10u);
  // What needs no locks leaves nothing.
  EXPECT_FALSE(*sys::FindAt(sys::Cwd(), source_.directory));
}

// No two of all that can be had at once share an id.
TEST_F(Claims, LinesThatShareIdsGiveThemOnce) {
  std::ofstream(source_.subuid) << ::getuid() << ":100000:131072\n"
                                << ::getuid() << ":132768:131072\n"
                                << ::getuid() << ":100000:65536\n";
  std::ofstream(source_.subgid) << ::getuid() << ":700000:262144\n";
  std::vector<SubordinateIds> all;
  do {
    auto next = ClaimSubordinateIds(source_);
    ASSERT_TRUE(next.ok()) << next.error().message();
    all.push_back(*std::move(next));
  } while (all.back().own);
  EXPECT_EQ(all.size(), 2u);
  for (size_t i = 0; i < all.size(); i++)
    for (size_t k = 0; k < i; k++) {
      const SubordinateSpan &a = all[i].span, &b = all[k].span;
      EXPECT_TRUE(a.first_uid + a.count < b.first_uid || b.first_uid + b.count < a.first_uid)
          << a.first_uid << " and " << b.first_uid;
    }
}

// By the place in the file, the part of a running sandbox would be free again, or another's.
TEST_F(Claims, OfARunningSandboxStayItsOwnWhenTheFileChanges) {
  Give(3 * kSubordinateChunk, 3 * kSubordinateChunk);
  auto first = ClaimSubordinateIds(source_);
  ASSERT_TRUE(first.ok() && first->own);
  std::ofstream(source_.subuid) << ::getuid() << ":500000:65536\n"
                                << ::getuid() << ":100000:196608\n";
  auto second = ClaimSubordinateIds(source_);
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(second->own);
  EXPECT_EQ(second->span.first_uid, 100000u);
  // Those ids and no others: not to be shared either.
  std::ofstream(source_.subuid) << ::getuid() << ':' << first->span.first_uid << ":65536\n";
  auto third = ClaimSubordinateIds(source_);
  ASSERT_FALSE(third.ok());
  EXPECT_THAT(third.error().message(), HasSubstr("are another sandbox's own"));
  EXPECT_THAT(third.error().remedy(), HasSubstr("stop"));
  first->lock.Reset();
  EXPECT_TRUE(ClaimSubordinateIds(source_).ok());
}

TEST_F(Claims, WithoutAPlaceForLocksThereAreNoneAndItIsSaid) {
  Give(3 * kSubordinateChunk, 3 * kSubordinateChunk);
  ASSERT_EQ(::mkdir(source_.directory.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(source_.directory.c_str(), 0755), 0);
  auto open_to_all = ClaimSubordinateIds(source_);
  ASSERT_FALSE(open_to_all.ok());
  EXPECT_THAT(open_to_all.error().message(), HasSubstr("no place to note"));
  EXPECT_THAT(open_to_all.error().remedy(), HasSubstr("remove " + source_.directory));
  source_.directory = top_ + "/no/such";
  auto gone = ClaimSubordinateIds(source_);
  ASSERT_FALSE(gone.ok());
  EXPECT_THAT(gone.error().message(), HasSubstr("/no/such"));
  EXPECT_THAT(gone.error().remedy(), HasSubstr("home directory"));
}

// Neither a session's directory nor what a job's environment lacks decides who sees whose locks.
TEST_F(Claims, AreSeenFromEverySession) {
  Give(3 * kSubordinateChunk, 3 * kSubordinateChunk);
  source_.directory = "";
  std::ofstream(source_.passwd) << "some:x:" << ::getuid() << ":0::" << top_ << ":/bin/sh\n";
  for (const char* name : {"/one", "/two"}) ASSERT_EQ(::mkdir((top_ + name).c_str(), 0700), 0);
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", (top_ + "/one").c_str(), 1), 0);
  auto first = ClaimSubordinateIds(source_);
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", (top_ + "/two").c_str(), 1), 0);
  auto second = ClaimSubordinateIds(source_);
  ASSERT_EQ(::unsetenv("XDG_RUNTIME_DIR"), 0);
  auto third = ClaimSubordinateIds(source_);
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  EXPECT_TRUE(first->own && second->own && !third->own);
  EXPECT_NE(first->span.first_uid, second->span.first_uid);
}

TEST_F(Claims, ForFilesAreTheSharedOnesAndTakeNoLock) {
  Give(3 * kSubordinateChunk, 2 * kSubordinateChunk);
  auto files = FindSharedIds(source_);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->span, (SubordinateSpan{100000, 700000, kSubordinateChunk - 1}));
  EXPECT_FALSE(files->own || files->lock);
  EXPECT_FALSE(*sys::FindAt(sys::Cwd(), source_.directory));
  Give(kSubordinateChunk - 1, kSubordinateChunk);
  auto few = FindSharedIds(source_);
  ASSERT_FALSE(few.ok());
  EXPECT_THAT(few.error().message(), HasSubstr("fewer than 65536"));
  EXPECT_THAT(few.error().remedy(), HasSubstr("usermod"));
}

TEST_F(Claims, OfFilesAreSharedByManyButNotWithWhoHasThemAlone) {
  Give(3 * kSubordinateChunk, 3 * kSubordinateChunk);
  auto own = ClaimSubordinateIds(source_);
  ASSERT_TRUE(own.ok() && own->own);
  SubordinateSpan first{100000, 700000, kSubordinateChunk - 1};
  auto one = ShareSubordinateIds(first, source_), other = ShareSubordinateIds(first, source_);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_TRUE(one->lock && other->lock);
  auto taken = ShareSubordinateIds(own->span, source_);
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(taken.error().message(), HasSubstr("another sandbox's own"));
  // Nor are those of files given to one alone, where the first part is another by then.
  std::ofstream(source_.subuid) << ::getuid() << ":500000:65536\n"
                                << ::getuid() << ":100000:65536\n";
  auto next = ClaimSubordinateIds(source_);
  ASSERT_TRUE(next.ok());
  EXPECT_FALSE(next->own);
  EXPECT_EQ(next->span.first_uid, 500000u);
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
