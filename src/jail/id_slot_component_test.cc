// SPDX-License-Identifier: Apache-2.0
// Id slots with real locks, in a directory of the test's own.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "base/text.h"
#include "jail/id_slot.h"
#include "sys/file.h"

namespace msb::jail {
namespace {

class IdSlots : public testing::Test {
 protected:
  IdSlots() {
    char name[] = "/tmp/msb-id-slot-XXXXXX";
    top_ = ::mkdtemp(name);
    source_ = {top_ + "/run", top_ + "/subuid", top_ + "/subgid"};
  }
  ~IdSlots() override { (void)sys::RemoveTreeAt(sys::Cwd(), top_); }

  std::string top_;
  IdSlotSource source_;
};

TEST_F(IdSlots, TwoHoldersHaveTwoIds) {
  auto first = ClaimIdSlot(source_);
  auto second = ClaimIdSlot(source_);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->id, kFirstSlotId);
  EXPECT_EQ(second->id, kFirstSlotId + 1);
}

TEST_F(IdSlots, AnIdIsFreeAgainWhenItsHolderIsGone) {
  {
    auto first = ClaimIdSlot(source_);
    ASSERT_TRUE(first.ok());
  }
  auto again = ClaimIdSlot(source_);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->number, 0u);
}

TEST_F(IdSlots, LeavesOutWhatSubuidAndSubgidGiveToUsers) {
  std::ofstream(source_.subuid) << "# a comment\nalice:100000:65536\nbob:" << kFirstSlotId
                                << ":3\nbroken:line\n";
  std::ofstream(source_.subgid) << "carol:" << kFirstSlotId + 3 << ":1\n";
  auto slot = ClaimIdSlot(source_);
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(slot->number, 4u);
}

TEST_F(IdSlots, SaysWhatToDoWhenEveryIdIsGivenAway) {
  std::ofstream(source_.subuid) << "alice:" << kFirstSlotId - 10 << ':' << kSlotCount + 10 << '\n';
  auto slot = ClaimIdSlot(source_);
  ASSERT_EQ(slot.error().code(), Code::kResourceExhausted);
  EXPECT_NE(slot.error().message().find(source_.subuid), std::string::npos);
  EXPECT_FALSE(slot.error().remedy().empty());
}

TEST_F(IdSlots, LieWhereNobodyElseHandsOutIds) {
  EXPECT_GT(kFirstSlotId, 2'000'200'000u);            // sssd's default for domain users.
  EXPECT_GT(kFirstSlotId, 0x6FFFFFFFu);               // systemd's containers.
  EXPECT_LE(kFirstSlotId + kSlotCount, 0x7FFE0000u);  // systemd's foreign ids.
}

TEST_F(IdSlots, RefusesADirectoryThatOthersCanReach) {
  ASSERT_EQ(::mkdir(source_.directory.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(source_.directory.c_str(), 0755), 0);
  auto slot = ClaimIdSlot(source_);
  ASSERT_FALSE(slot.ok());
  EXPECT_NE(slot.error().message().find("not private"), std::string::npos);
  EXPECT_FALSE(slot.error().remedy().empty());
}

TEST_F(IdSlots, DoesNotFollowALinkInPlaceOfItsDirectory) {
  ASSERT_EQ(::mkdir((top_ + "/elsewhere").c_str(), 0700), 0);
  ASSERT_EQ(::symlink((top_ + "/elsewhere").c_str(), source_.directory.c_str()), 0);
  EXPECT_FALSE(ClaimIdSlot(source_).ok());
}

}  // namespace
}  // namespace msb::jail
