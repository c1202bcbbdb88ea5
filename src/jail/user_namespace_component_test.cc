// SPDX-License-Identifier: Apache-2.0
// Real user namespaces, mapped by helpers that are scripts of the test's own. What maps more than
// one id is root's; with the product's helpers: tests/functional/test_process_ids.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/text.h"
#include "jail/user_namespace.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::jail {
namespace {

using testing::HasSubstr;

class UserNamespace : public testing::Test {
 protected:
  UserNamespace() {
    char name[] = "/tmp/msb-users-XXXXXX";
    top_ = ::mkdtemp(name);
    ids_.span = {100000, 200000, 65535};
    ids_.helpers = {top_ + "/newuidmap", top_ + "/newgidmap"};
  }
  ~UserNamespace() override { (void)sys::RemoveTreeAt(sys::Cwd(), top_); }
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP()
        << "ThreadSanitizer's own thread: the kernel lets nobody with threads unshare users";
#endif
  }
  void Helpers(const std::string& body) {
    for (const char* map : {"uid", "gid"}) {
      std::string path = Cat(top_, "/new", map, "map");
      std::ofstream(path) << "#!/bin/sh\nmap=" << map << "_map\n" << body << "\n";
      EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
    }
  }

  std::string top_;
  SubordinateIds ids_;
};

TEST_F(UserNamespace, ThatTheHelpersRefuseIsAnErrorInTheirWords) {
  Helpers("echo \"not $3 to $2\" >&2; exit 1");
  auto users = MakeUserNamespace(ids_);
  ASSERT_FALSE(users.ok());
  EXPECT_EQ(users.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(users.error().message(), HasSubstr(Cat("newuidmap: not ", ::geteuid(), " to 0")));
}

TEST_F(UserNamespace, WithoutMapsIsNotEntered) {
  Helpers("exit 0");
  auto users = MakeUserNamespace(ids_);
  ASSERT_TRUE(users.ok()) << users.error().message();
  bool ran = false;
  auto answer = RunInUserNamespace(*users, [&]() -> Result<uint64_t> { return ran = true; });
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(answer.error().message(), HasSubstr("setgroups"));
  auto child = sys::Spawn({.argv = {"/bin/true"}, .env = {}, .user_namespace = users->get()});
  ASSERT_FALSE(child.ok());
  EXPECT_THAT(child.error().message(), HasSubstr("user namespace of /bin/true"));
}

TEST_F(UserNamespace, IsWhereWorkOnItsIdsIsDone) {
  // One write: the kernel takes a map once.
  Helpers("pid=$1; shift; printf '%s %s %s\\n' \"$@\" > /proc/$pid/$map");
  auto users = MakeUserNamespace(ids_);
  if (::geteuid() != 0) {
    // Nobody else may map what is not his.
    ASSERT_FALSE(users.ok());
    EXPECT_EQ(users.error().code(), Code::kPermissionDenied);
    return;
  }
  ASSERT_TRUE(users.ok()) << users.error().message();
  std::string path = top_ + "/file";
  std::ofstream(path) << "x";
  auto made = RunInUserNamespace(*users, [&]() -> Result<uint64_t> {
    if (::chown(path.c_str(), 42, 33) == -1) return Error::Errno("chown");
    return ::getuid() + static_cast<uint64_t>(::getgroups(0, nullptr)) + 7;
  });
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(*made, 7u);
  auto info = sys::FindAt(sys::Cwd(), path);
  ASSERT_TRUE(info.ok() && *info);
  EXPECT_EQ((*info)->st_uid, 100041u);
  EXPECT_EQ((*info)->st_gid, 200032u);
  auto failed = RunInUserNamespace(*users, []() -> Result<uint64_t> {
    return Error(Code::kDataLoss, "of no use\nat all").Remedy("another");
  });
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), Code::kDataLoss);
  EXPECT_EQ(failed.error().message(), "of no use\nat all");
  EXPECT_EQ(failed.error().remedy(), "another");
  auto died = RunInUserNamespace(*users, []() -> Result<uint64_t> { ::_exit(0); });
  EXPECT_FALSE(died.ok());
  auto child = sys::Spawn({.argv = {"/bin/sh", "-c", "test \"$(id -u):$(id -G)\" = 0:0"},
                           .env = {},
                           .user_namespace = users->get()});
  ASSERT_TRUE(child.ok()) << child.error().message();
  EXPECT_EQ(*child->Wait(Deadline::Never()), sys::ExitStatus{});
}

}  // namespace
}  // namespace msb::jail
