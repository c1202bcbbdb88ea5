// SPDX-License-Identifier: Apache-2.0
// Users as the image's files have them.

#include "agent/users.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/text.h"

namespace msb::agent {
namespace {

constexpr std::string_view kPasswd =
    "# a comment\n"
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken line\n"
    "negative:x:-1:0::/:/bin/sh\n"
    "all:x:4294967295:0::/:/bin/sh\n"
    "app:x:1000:1001:App,,,:/home/app:/bin/sh\n"
    "1000:x:7:7::/seven:/bin/sh\n"
    "nohome:x:1002:1002:::\n"
    "last:x:1003:1003::/last:/bin/sh";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "adm:x:4:app,root\n"
    "wheel:x:10:root,app2,app\n"
    "app:x:1001:\n"
    "bad:x:many:app\n"
    "users:x:100:xapp\n";

Identity Resolve(std::string_view user) {
  auto identity = ResolveIdentity(user, kPasswd, kGroup);
  EXPECT_TRUE(identity.ok()) << user;
  return identity.ok() ? *identity : Identity();
}

TEST(Users, NobodyNamedIsRoot) {
  auto root = Resolve("");
  EXPECT_EQ(root.uid, 0u);
  EXPECT_EQ(root.name, "root");
  EXPECT_EQ(root.home, "/root");
  EXPECT_EQ(root.groups, (std::vector<uint32_t>{4, 10}));
}

TEST(Users, ANameBringsItsGroupsAndHome) {
  auto app = Resolve("app");
  EXPECT_EQ(app.uid, 1000u);
  EXPECT_EQ(app.gid, 1001u);
  EXPECT_EQ(app.home, "/home/app");
  EXPECT_EQ(app.groups, (std::vector<uint32_t>{4, 10}));
}

TEST(Users, ANameThatIsANumberWinsOverTheId) { EXPECT_EQ(Resolve("1000").uid, 7u); }

TEST(Users, ANumberNeedsNoAccount) {
  auto nobody = Resolve("54321");
  EXPECT_EQ(nobody.uid, 54321u);
  EXPECT_EQ(nobody.gid, 0u);
  EXPECT_EQ(nobody.home, "/");
  EXPECT_EQ(nobody.name, "");
}

TEST(Users, AnIdFindsItsAccount) { EXPECT_EQ(Resolve("1003").name, "last"); }

TEST(Users, AGroupReplacesAllGroups) {
  auto app = Resolve("app:users");
  EXPECT_EQ(app.gid, 100u);
  EXPECT_TRUE(app.groups.empty());
  EXPECT_EQ(Resolve("1:2").gid, 2u);
  EXPECT_EQ(Resolve(":adm").gid, 4u);
}

TEST(Users, UnknownNamesAreNamed) {
  auto unknown = ResolveIdentity("ghost", kPasswd, kGroup);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code(), Code::kNotFound);
  EXPECT_EQ(unknown.error().message(), "the image has no user \"ghost\"");
  EXPECT_EQ(ResolveIdentity("app:ghosts", kPasswd, kGroup).error().message(),
            "the image has no group \"ghosts\"");
}

TEST(Users, TheIdThatMeansLeaveItIsNoId) {
  EXPECT_FALSE(ResolveIdentity("4294967295", kPasswd, kGroup).ok());
  EXPECT_FALSE(ResolveIdentity("all", kPasswd, kGroup).ok());
  EXPECT_FALSE(ResolveIdentity("-1", kPasswd, kGroup).ok());
}

TEST(Users, AnImageWithoutFilesHasRoot) {
  auto root = ResolveIdentity("", "", "");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->home, "/root");
  EXPECT_FALSE(ResolveIdentity("app", "", "").ok());
}

TEST(Users, AnEmptyHomeIsTheTop) { EXPECT_EQ(Resolve("nohome").home, "/"); }

TEST(Users, LongLinesAndManyGroupsEnd) {
  std::string group;
  for (int i = 0; i < 1000; ++i) group += Cat("g", i, ":x:", i, ":u\n");
  EXPECT_EQ(GroupsOf(group, "u").size(), kMaxGroups);
  std::string line = Cat("long:x:5:5:", std::string(kMaxAccountLine, 'c'), ":/:/bin/sh\n");
  EXPECT_FALSE(FindAccount(line, "long"));
}

RC_GTEST_PROP(Users, AnyTextIsRead, ()) {
  auto text =
      *rc::gen::container<std::string>(rc::gen::element('a', ':', '\n', '0', '1', ',', '#'));
  auto who = *rc::gen::container<std::string>(rc::gen::element('a', ':', '0', '1'));
  auto identity = ResolveIdentity(who, text, text);
  if (identity.ok()) RC_ASSERT(identity->uid != UINT32_MAX && identity->gid != UINT32_MAX);
}

}  // namespace
}  // namespace msb::agent
