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

}  // namespace
}  // namespace msb::store
