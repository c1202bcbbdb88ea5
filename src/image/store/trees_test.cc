// SPDX-License-Identifier: Apache-2.0
// Root trees: found by whoever made them, kept while in use, and gone with their image.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "image/store/layout.h"
#include "image/store/store_test_util.h"

namespace msb::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class TreesTest : public testing::Test {
 protected:
  TreesTest() : store_(*Store::Open(home_.fd())) {
    EXPECT_TRUE(AddImage(store_, "a", 'a').ok());
    image_ = *store_.Find(Named("a"));
  }
  // A tree with one file, in a directory that its owner may not write.
  StagedTree Staged() {
    StagedTree staged = *store_.StageTree(*image_);
    EXPECT_TRUE(sys::MkdirAt(staged.root(), "etc", 0700).ok());
    UniqueFd etc = *sys::OpenAt(staged.root(), "etc", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(sys::ReplaceFileAt(etc, "passwd", "root:x:0:0::/:/bin/sh\n").ok());
    EXPECT_EQ(::fchmodat(staged.root().get(), "etc", 0500, 0), 0);
    return staged;
  }
  void Forget() { ASSERT_TRUE(*store_.Remove(Named("a"))); }
  std::vector<std::string> Names(const char* where) {
    UniqueFd dir = *sys::OpenAt(home_.fd(), Cat("images/", where), O_RDONLY | O_DIRECTORY);
    return *sys::ListDirectory(dir);
  }
  std::vector<std::string> Trees() { return Names(kTrees); }
  std::vector<std::string> Temporary() { return Names(kTemp); }

  TempHome home_;
  Store store_;
  std::optional<Image> image_;
};

TEST_F(TreesTest, IsNotThereBeforeTheCommit) {
  EXPECT_FALSE((*store_.OpenTree(*image_)).has_value());
  {
    auto staged = Staged();
    EXPECT_FALSE((*store_.OpenTree(*image_)).has_value());
  }
  EXPECT_THAT(Temporary(), IsEmpty());
  EXPECT_THAT(Trees(), IsEmpty());
}

TEST_F(TreesTest, IsFoundAfterTheCommit) {
  auto made = Staged().Commit();
  ASSERT_TRUE(made.ok()) << made.error().message();
  auto opened = *store_.OpenTree(*image_);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(*sys::ReadFileAt(opened->root, "etc/passwd", 100), "root:x:0:0::/:/bin/sh\n");
  EXPECT_THAT(Trees(), SizeIs(1));
  EXPECT_THAT(Trees()[0], HasSubstr(Cat("-", ::geteuid())));
}

TEST_F(TreesTest, OfTwoMakersTheFirstOnesStays) {
  auto first = Staged();
  auto second = Staged();
  auto made = std::move(first).Commit();
  auto other = std::move(second).Commit();
  ASSERT_TRUE(made.ok() && other.ok());
  EXPECT_EQ(sys::Stat(made->root)->st_ino, sys::Stat(other->root)->st_ino);
  EXPECT_THAT(Trees(), SizeIs(1));
  EXPECT_THAT(Temporary(), IsEmpty());
}

TEST_F(TreesTest, OfManyMakersAtOnceEachGetsIt) {
  constexpr int kMakers = 8;
  std::vector<pid_t> makers;
  sys::Pipe start = *sys::MakePipe();
  for (int i = 0; i < kMakers; i++) {
    pid_t pid = ::fork();
    if (pid == 0) {
      start.write.Reset();
      auto staged = Staged();
      std::byte none;
      (void)sys::ReadSome(start.read, std::span(&none, 1));
      auto made = std::move(staged).Commit();
      ::_exit(made.ok() && sys::ReadFileAt(made->root, "etc/passwd", 100).ok() ? 0 : 1);
    }
    makers.push_back(pid);
  }
  start.write.Reset();
  for (pid_t maker : makers) {
    int status = -1;
    ASSERT_EQ(::waitpid(maker, &status, 0), maker);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(Trees(), SizeIs(1));
}

TEST_F(TreesTest, StaysWhileItsImageIsNamed) {
  ASSERT_TRUE(Staged().Commit().ok());
  EXPECT_THAT(store_.CollectGarbage()->items, IsEmpty());
  EXPECT_TRUE((*store_.OpenTree(*image_)).has_value());
}

TEST_F(TreesTest, StaysWhileItIsUsed) {
  auto used = Staged().Commit();
  ASSERT_TRUE(used.ok());
  Forget();
  (void)*store_.CollectGarbage();
  EXPECT_THAT(Trees(), SizeIs(1));
  EXPECT_TRUE(sys::ReadFileAt(used->root, "etc/passwd", 100).ok());
  used->lock.Reset();
  auto garbage = *store_.CollectGarbage(GarbageMode::kOnlyReport);
  EXPECT_THAT(garbage.items, SizeIs(1));
  EXPECT_GT(garbage.bytes, 0u);
  EXPECT_THAT(Trees(), SizeIs(1));
  EXPECT_THAT(store_.CollectGarbage()->items, SizeIs(1));
  EXPECT_THAT(Trees(), IsEmpty());
  EXPECT_THAT(Temporary(), IsEmpty());
}

TEST_F(TreesTest, OfADeadMakerIsGarbageAndOfALivingOneIsNot) {
  auto staged = Staged();
  EXPECT_THAT(store_.CollectGarbage()->items, IsEmpty());
  // As a maker leaves it that was killed on its way.
  UniqueFd temp = *sys::OpenAt(home_.fd(), Cat("images/", kTemp), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(sys::MkdirAt(temp, "dead", 0700).ok());
  ASSERT_TRUE(sys::MkdirAt(temp, "dead/root", 0500).ok());
  EXPECT_THAT(store_.CollectGarbage()->items, SizeIs(1));
  EXPECT_THAT(Temporary(), SizeIs(1));
  ASSERT_TRUE(std::move(staged).Commit().ok());
}

TEST_F(TreesTest, OfNoImageGoesWithItsMaker) {
  {
    auto staged = *store_.StageTree();
    auto shared = staged.Share();
    ASSERT_TRUE(shared.ok());
    EXPECT_EQ(sys::Stat(shared->root)->st_ino, sys::Stat(staged.root())->st_ino);
    EXPECT_TRUE(store_.RemoveDeadTrees().ok());
    EXPECT_THAT(store_.CollectGarbage()->items, IsEmpty());
    EXPECT_THAT(Temporary(), SizeIs(1));
  }
  EXPECT_THAT(Temporary(), IsEmpty());
}

TEST_F(TreesTest, OfNoImageThatWasLeftGoesAfterItsLastUser) {
  std::optional<OpenedTree> used;
  {
    auto staged = *store_.StageTree();
    ASSERT_TRUE(sys::MkdirAt(staged.root(), "etc", 0500).ok());
    used = *staged.Share();
    std::move(staged).Leave();
  }
  {
    // Beside whoever reads the store: a tree in use is no reason to wait for the store's lock.
    auto reader = sys::FileLock::TryShared(*sys::OpenAt(home_.fd(), "images/lock", O_RDWR));
    ASSERT_TRUE(reader.ok());
    auto began = Clock::now();
    EXPECT_TRUE(store_.RemoveDeadTrees().ok());
    EXPECT_LT(Clock::now() - began, std::chrono::seconds(30));
  }
  EXPECT_THAT(Temporary(), SizeIs(1));
  EXPECT_TRUE(*sys::FindAt(used->root, "etc"));
  used->lock.Reset();
  EXPECT_TRUE(store_.RemoveDeadTrees().ok());
  EXPECT_THAT(Temporary(), IsEmpty());
}

TEST_F(TreesTest, OfTheDeadAreLookedForWithoutMakingAnything) {
  TempHome empty;
  EXPECT_TRUE(Store::Open(empty.fd())->RemoveDeadTrees().ok());
  EXPECT_THAT(*sys::ListDirectory(empty.fd()), IsEmpty());
}

TEST_F(TreesTest, IsNotTakenFromAnotherUser) {
  auto made = Staged().Commit();
  ASSERT_TRUE(made.ok());
  UniqueFd trees = *sys::OpenAt(home_.fd(), Cat("images/", kTrees), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(sys::RenameAt(trees, Trees()[0], trees, Cat(image_->manifest.hex(), "-12345")).ok());
  EXPECT_FALSE((*store_.OpenTree(*image_)).has_value());
}

constexpr TreeIds kIds{100000, 200000, 65535}, kOtherIds{100000, 300000, 65535};

TEST_F(TreesTest, OfSomeIdsIsForThoseAlone) {
  auto made = (*store_.StageTree(*image_, kIds)).Commit();
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE((*store_.OpenTree(*image_, kIds)).has_value());
  EXPECT_FALSE((*store_.OpenTree(*image_, kOtherIds)).has_value());
  EXPECT_FALSE((*store_.OpenTree(*image_)).has_value());
  ASSERT_TRUE((*store_.StageTree(*image_)).Commit().ok());
  EXPECT_THAT(Trees(), SizeIs(2));
}

TEST(TreeNames, SayWhoseIdsTheFilesHave) {
  std::string uid = Cat(::geteuid());
  EXPECT_EQ(TreeName("abc", {}), Cat("abc-", uid));
  EXPECT_EQ(TreeName("abc", kIds), Cat("abc-", uid, "-100000-200000-65535"));
  EXPECT_EQ(OwnerOfTree(TreeName("abc", kIds)), (TreeOwner{::geteuid(), kIds}));
  EXPECT_EQ(OwnerOfTree("abc-7"), (TreeOwner{7, {}}));
  for (const char* name : {"", "abc", "abc-", "abc-x", "abc-7-8", "abc-7-8-9", "abc-7-8-9-x",
                           "abc-7-8-9-10-11", "abc-7-8-9-4294967296"})
    EXPECT_FALSE(OwnerOfTree(name)) << name;
}

// Removed where the worker says, with the ids that its name has, wherever it stands by then.
TEST_F(TreesTest, OfSomeIdsIsRemovedByTheWorkerAlone) {
  std::vector<TreeIds> asked;
  bool able = false;
  Store store = *Store::Open(home_.fd(), [&](const TreeIds& ids, auto& work) -> Result<uint64_t> {
    asked.push_back(ids);
    if (!able) return Error(Code::kPermissionDenied, "not yours");
    return work();
  });
  ASSERT_TRUE((*store.StageTree(*image_, kIds)).Commit().ok());
  ASSERT_TRUE((*store.StageTree(*image_)).Commit().ok());
  { auto dropped = *store.StageTree(kIds); }
  EXPECT_THAT(asked, testing::ElementsAre(kIds));
  EXPECT_THAT(Temporary(), SizeIs(1));
  auto dead = store.RemoveDeadTrees();
  ASSERT_FALSE(dead.ok());
  EXPECT_THAT(dead.error().message(), HasSubstr("not yours"));
  Forget();
  // What cannot be removed is told, stays where it is, and keeps nothing else.
  auto garbage = *store.CollectGarbage();
  EXPECT_THAT(garbage.left, SizeIs(2));
  EXPECT_THAT(garbage.left[1].path, HasSubstr("trees/sha256/"));
  EXPECT_THAT(garbage.left[1].error.message(), HasSubstr("not yours"));
  EXPECT_THAT(Trees(), SizeIs(1));
  EXPECT_THAT(Temporary(), SizeIs(1));
  // A program that has no worker leaves them to one that has.
  EXPECT_THAT(store_.CollectGarbage()->left, SizeIs(2));
  asked.clear();
  able = true;
  EXPECT_THAT(store.CollectGarbage()->left, IsEmpty());
  EXPECT_THAT(asked, testing::ElementsAre(kIds, kIds));
  EXPECT_THAT(Trees(), IsEmpty());
  EXPECT_THAT(Temporary(), IsEmpty());
}

TEST_F(TreesTest, OfIdsThatNoRunTakesAnyMoreGoes) {
  Store store = *Store::Open(home_.fd(), [](const TreeIds&, auto& work) { return work(); });
  for (const TreeIds& ids : {TreeIds(), kIds, kOtherIds})
    ASSERT_TRUE((*store.StageTree(*image_, ids)).Commit().ok());
  EXPECT_THAT(store.CollectGarbage()->items, IsEmpty());
  EXPECT_THAT(store.CollectGarbage(GarbageMode::kRemove, kIds)->items, SizeIs(2));
  EXPECT_TRUE((*store.OpenTree(*image_, kIds)).has_value());
  // Not while it is used.
  auto used = *store.OpenTree(*image_, kIds);
  EXPECT_THAT(store.CollectGarbage(GarbageMode::kRemove, TreeIds())->items, IsEmpty());
  used.reset();
  EXPECT_THAT(store.CollectGarbage(GarbageMode::kRemove, TreeIds())->items, SizeIs(1));
  EXPECT_THAT(Trees(), IsEmpty());
}

}  // namespace
}  // namespace msb::store
