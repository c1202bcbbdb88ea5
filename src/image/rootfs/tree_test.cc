// SPDX-License-Identifier: Apache-2.0
// Paths, links, replacement and whiteouts in the tree, without any archive or image.
#include "image/rootfs/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace msb::rootfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TreeTest : public testing::Test {
 protected:
  Result<InodeIndex> Add(std::string_view path, FileKind kind = FileKind::kRegular,
                         std::string_view small = {}) {
    Tree::Entry entry{.kind = kind};
    entry.content.small = small;
    entry.content.size = small.size();
    return tree_.Add(path, std::move(entry));
  }
  void Dir(std::string_view path) { ASSERT_TRUE(Add(path, FileKind::kDirectory).ok()); }
  void Symlink(std::string_view path, std::string_view target) {
    ASSERT_TRUE(Add(path, FileKind::kSymlink, target).ok());
  }
  std::string WhyNot(std::string_view path) {
    auto added = Add(path);
    return added.ok() ? "no error" : added.error().message();
  }

  std::vector<std::string> Paths() const {
    std::vector<std::string> paths;
    Collect(Tree::kRoot, "", paths);
    return paths;
  }
  void Collect(InodeIndex directory, const std::string& prefix,
               std::vector<std::string>& paths) const {
    for (const auto& [name, child] : *tree_.inodes()[directory].children) {
      paths.push_back(prefix + name);
      if (tree_.inodes()[child.inode].children) Collect(child.inode, prefix + name + "/", paths);
    }
  }
  const Inode& At(InodeIndex directory, std::string_view name) const {
    return tree_.inodes()[tree_.inodes()[directory].children->find(name)->second.inode];
  }

  Tree tree_{RootDiskLimits{}};
};

TEST_F(TreeTest, StripsSlashesAndDotsAsTarDoes) {
  ASSERT_TRUE(Add("/a").ok());
  ASSERT_TRUE(Add("./b").ok());
  ASSERT_TRUE(Add("c//d/./e").ok());
  Dir("f/");
  Dir("./");
  Dir("");
  EXPECT_THAT(Paths(), ElementsAre("a", "b", "c", "c/d", "c/d/e", "f"));
}

TEST_F(TreeTest, RefusesNamesThatClimbOrCannotBe) {
  EXPECT_THAT(WhyNot(".."), HasSubstr(".."));
  EXPECT_THAT(WhyNot("a/../b"), HasSubstr(".."));
  EXPECT_THAT(WhyNot("/../etc"), HasSubstr(".."));
  EXPECT_THAT(WhyNot(std::string(256, 'n')), HasSubstr("255"));
  EXPECT_THAT(WhyNot(std::string_view("a\0b", 3)), HasSubstr("NUL"));
  EXPECT_THAT(WhyNot("."), HasSubstr("root"));
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "d/";
  EXPECT_THAT(WhyNot(deep + "f"), HasSubstr("4096"));
  EXPECT_TRUE(Add(std::string(255, 'n')).ok());
  EXPECT_TRUE(Add("..a/...").ok());
}

TEST_F(TreeTest, FollowsSymlinksInsideTheTreeOnly) {
  Dir("usr/lib");
  Symlink("lib", "usr/lib");
  Symlink("abs", "/usr");
  Symlink("climber", "../../../usr");
  Symlink("usr/up", "..");
  ASSERT_TRUE(Add("lib/one").ok());
  ASSERT_TRUE(Add("abs/lib/two").ok());
  ASSERT_TRUE(Add("climber/lib/three").ok());
  ASSERT_TRUE(Add("usr/up/four").ok());
  Symlink("nowhere", "var/made");
  ASSERT_TRUE(Add("nowhere/five").ok());
  EXPECT_THAT(Paths(), ElementsAre("abs", "climber", "four", "lib", "nowhere", "usr", "usr/lib",
                                   "usr/lib/one", "usr/lib/three", "usr/lib/two", "usr/up", "var",
                                   "var/made", "var/made/five"));
}

TEST_F(TreeTest, SymlinkLoopsAndFilesOnTheWayAreErrors) {
  Symlink("a", "b");
  Symlink("b", "a");
  EXPECT_THAT(WhyNot("a/x"), HasSubstr("too many symlinks"));
  ASSERT_TRUE(Add("file").ok());
  EXPECT_THAT(WhyNot("file/x"), HasSubstr("not a directory"));
  Symlink("self", ".");
  EXPECT_TRUE(Add("self/self/self/x").ok());
}

TEST_F(TreeTest, TheFinalNameIsReplacedNotFollowed) {
  ASSERT_TRUE(Add("target", FileKind::kRegular, "old").ok());
  Symlink("link", "target");
  ASSERT_TRUE(Add("link", FileKind::kRegular, "new").ok());
  EXPECT_EQ(At(Tree::kRoot, "target").content.small, "old");
  EXPECT_EQ(At(Tree::kRoot, "link").kind, FileKind::kRegular);
}

TEST_F(TreeTest, LaterEntriesWinWithAllTheirNames) {
  ASSERT_TRUE(Add("a/b/c").ok());
  ASSERT_TRUE(Add("a").ok());
  EXPECT_THAT(Paths(), ElementsAre("a"));
  Dir("a");
  EXPECT_THAT(Paths(), ElementsAre("a"));
  ASSERT_TRUE(Add("a/x").ok());
  Dir("a");
  EXPECT_THAT(Paths(), ElementsAre("a", "a/x"));
}

TEST_F(TreeTest, HardLinksCountTheirNames) {
  ASSERT_TRUE(Add("d/file").ok());
  ASSERT_TRUE(tree_.Link("one", "./d/file").ok());
  ASSERT_TRUE(tree_.Link("two", "/one").ok());
  EXPECT_EQ(At(Tree::kRoot, "one").links, 3u);
  ASSERT_TRUE(tree_.Link("two", "one").ok());
  EXPECT_EQ(At(Tree::kRoot, "one").links, 3u);
  ASSERT_TRUE(Add("d").ok());
  EXPECT_EQ(At(Tree::kRoot, "one").links, 2u);
}

TEST_F(TreeTest, ALinkOntoTheDirectoryOfItsTargetKeepsTheFile) {
  ASSERT_TRUE(Add("d/file", FileKind::kRegular, "x").ok());
  ASSERT_TRUE(tree_.Link("d", "d/file").ok());
  EXPECT_THAT(Paths(), ElementsAre("d"));
  EXPECT_EQ(At(Tree::kRoot, "d").links, 1u);
  EXPECT_EQ(At(Tree::kRoot, "d").content.small, "x");
}

TEST_F(TreeTest, HardLinksToNothingDirectoriesAndOutsideAreErrors) {
  Dir("dir");
  for (std::string_view target : {"absent", "dir", "dir/absent", "no/way", "../out", "", "/"}) {
    auto linked = tree_.Link("l", target);
    EXPECT_FALSE(linked.ok()) << target;
    EXPECT_NE(linked.error().code(), Code::kNotFound) << target;
  }
  EXPECT_THAT(tree_.Link("l", "../out").error().message(), HasSubstr(".."));
}

TEST_F(TreeTest, WhiteoutsRemoveOnlyWhatIsBelow) {
  ASSERT_TRUE(Add("d/lower/x").ok());
  ASSERT_TRUE(Add("f").ok());
  ASSERT_TRUE(tree_.BeginLayer().ok());
  ASSERT_TRUE(Add("d/upper").ok());
  ASSERT_TRUE(Add("f").ok());
  for (std::string_view path : {".wh.d", ".wh.f", ".wh.absent", "no/such/.wh.x"})
    EXPECT_TRUE(*tree_.ApplyWhiteout(path)) << path;
  EXPECT_THAT(Paths(), ElementsAre("d", "d/upper", "f"));
  EXPECT_FALSE(*tree_.ApplyWhiteout("d/wh.x"));
  EXPECT_FALSE(*tree_.ApplyWhiteout(".wh.d/x"));
}

TEST_F(TreeTest, OpaqueWhiteoutsDoNotCareForTheOrder) {
  for (bool first : {true, false}) {
    tree_ = Tree(RootDiskLimits{});
    ASSERT_TRUE(Add("d/old/x").ok());
    ASSERT_TRUE(Add("d/both/old").ok());
    ASSERT_TRUE(tree_.BeginLayer().ok());
    if (first) {
      ASSERT_TRUE(*tree_.ApplyWhiteout("d/.wh..wh..opq"));
    }
    ASSERT_TRUE(Add("d/both/new").ok());
    if (!first) {
      ASSERT_TRUE(*tree_.ApplyWhiteout("d/.wh..wh..opq"));
    }
    EXPECT_THAT(Paths(), ElementsAre("d", "d/both", "d/both/new"));
  }
}

TEST_F(TreeTest, WhiteoutsOfNoNameAreErrorsAndAufsRecordsAreNothing) {
  EXPECT_FALSE(tree_.ApplyWhiteout("a/.wh.").ok());
  EXPECT_FALSE(tree_.ApplyWhiteout(".wh...").ok());
  EXPECT_FALSE(tree_.ApplyWhiteout(".wh..").ok());
  EXPECT_FALSE(tree_.ApplyWhiteout("../.wh.x").ok());
  EXPECT_TRUE(*tree_.ApplyWhiteout(".wh..wh.plnk"));
}

TEST_F(TreeTest, AWhiteoutTakesTheLinkNotItsTarget) {
  ASSERT_TRUE(Add("etc/file").ok());
  Symlink("link", "etc");
  ASSERT_TRUE(tree_.BeginLayer().ok());
  ASSERT_TRUE(*tree_.ApplyWhiteout(".wh.link"));
  EXPECT_THAT(Paths(), ElementsAre("etc", "etc/file"));
}

TEST_F(TreeTest, AttributesAreSortedAndTheLastOfEqualsWins) {
  Tree::Entry entry{.kind = FileKind::kDirectory};
  entry.attributes.xattrs = {{"user.b", "1"}, {"user.a", "2"}, {"user.b", "3"}};
  ASSERT_TRUE(tree_.Add(".", std::move(entry)).ok());
  EXPECT_THAT(*tree_.inodes()[Tree::kRoot].xattrs,
              ElementsAre(Xattr{"user.a", "2"}, Xattr{"user.b", "3"}));
}

}  // namespace
}  // namespace msb::rootfs
