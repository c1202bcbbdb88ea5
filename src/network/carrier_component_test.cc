// SPDX-License-Identifier: Apache-2.0
// The command line, and the keeper with another program than pasta, in namespaces of the test's
// own. What pasta does: tests/functional.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "network/carrier.h"
#include "network/keeper.h"
#include "network/link.h"
#include "sys/file.h"
#include "sys/fork.h"

namespace msb::network {
namespace {

using testing::HasSubstr;
using testing::IsSubsetOf;

TEST(CarrierCommand, LeadsOnlyWhereItIsTold) {
  std::vector<PublishedPort> ports = {{0x7F000001, 8080, 80, Transport::kTcp}};
  auto words = CarrierCommand("/usr/bin/pasta", ports);
  EXPECT_EQ(words[0], "/usr/bin/pasta");
  EXPECT_THAT((std::vector<std::string>{"--no-map-gw", "--ipv4-only", "127.0.0.1/8080:80"}),
              IsSubsetOf(words));
  for (const char* flag : {"--tcp-ns", "--udp-ns", "--udp-ports"}) {
    auto at = std::find(words.begin(), words.end(), flag);
    ASSERT_NE(at, words.end()) << flag;
    EXPECT_EQ(*(at + 1), "none") << flag;
  }
}

// A child with namespaces of its own, as the init of a sandbox is one.
class KeeperTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP()
        << "ThreadSanitizer's own thread: the kernel lets nobody with threads unshare users";
#endif
    sys::Pipe up = *sys::MakePipe(), down = *sys::MakePipe();
    stop_ = std::move(down.write);
    child_.emplace(*sys::ForkChild([&] {
      if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1) return 2;
      (void)sys::WriteAll(up.write, "u");
      stop_.Reset();
      std::byte one;
      (void)sys::ReadSome(down.read, std::span(&one, 1));
      return 0;
    }));
    up.write.Reset();
    std::byte one;
    ASSERT_EQ(*sys::ReadSome(up.read, std::span(&one, 1)), 1u);
    // SAFETY: the child is not reaped, so its number is its own.
    std::string proc = "/proc/" + PidOf(child_->pidfd());
    network_ = *sys::OpenAt(sys::Cwd(), proc + "/ns/net", O_RDONLY);
    users_ = *sys::OpenAt(sys::Cwd(), proc + "/ns/user", O_RDONLY);
    std::string map = "0 " + std::to_string(::geteuid()) + " 1";
    UniqueFd groups = *sys::OpenAt(sys::Cwd(), proc + "/setgroups", O_WRONLY);
    EXPECT_TRUE(sys::WriteAll(groups, "deny").ok());
    UniqueFd ids = *sys::OpenAt(sys::Cwd(), proc + "/uid_map", O_WRONLY);
    EXPECT_TRUE(sys::WriteAll(ids, map).ok());
  }

  static std::string PidOf(BorrowedFd pidfd) {
    auto text =
        *sys::ReadFileAt(sys::Cwd(), "/proc/self/fdinfo/" + std::to_string(pidfd.get()), 4096);
    size_t at = text.find("Pid:\t") + 5;
    return text.substr(at, text.find('\n', at) - at);
  }

  UniqueFd stop_, network_, users_;
  std::optional<sys::Child> child_;
};

TEST_F(KeeperTest, RunsInsideAndTellsErrors) {
  EXPECT_TRUE(RunInside(network_, users_, []() -> Result<void> {
                auto route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
                return RemoveLink(route, "nosuch0");
              }).ok());
  auto failed = RunInside(
      network_, users_, []() -> Result<void> { return Error(Code::kInternal, "because of this"); });
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "because of this");
}

TEST_F(KeeperTest, KeepsWhatGoesIntoTheBackgroundAndEndsIt) {
  char top[] = "/tmp/msb-keeper-XXXXXX";
  std::string fifo = std::string(::mkdtemp(top)) + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  UniqueFd read = *sys::OpenAt(sys::Cwd(), fifo, O_RDONLY | O_NONBLOCK);
  // It sees the sandbox's network by its path, and stays in ours.
  std::string ours = *sys::ReadLinkAt(sys::Cwd(), "/proc/self/ns/net");
  std::string script = "test \"$(readlink /proc/self/ns/net)\" = '" + ours + "' || exit 4; " +
                       "test \"$(readlink $0)\" != '" + ours +
                       "' || exit 5; (echo up; exec sleep 1000) > " + fifo + " &";
  {
    auto kept = StartKept(network_, users_, {"/bin/sh", "-c", script, kNetworkPath});
    ASSERT_TRUE(kept.ok()) << kept.error().message();
    pollfd wait{read.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 20'000), 1);
    std::byte buffer[8];
    EXPECT_EQ(*sys::ReadSome(read, buffer), 3u);
    EXPECT_EQ(sys::ReadSome(read, buffer).error().sys_errno(), EAGAIN);  // It runs on.
  }
  // End of file: whoever could write has ended.
  pollfd wait{read.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, 20'000), 1);
  EXPECT_NE(wait.revents & POLLHUP, 0);
  (void)sys::RemoveTreeAt(sys::Cwd(), top);
}

TEST_F(KeeperTest, WhatTheProgramSaysIsTheError) {
  auto kept = StartKept(network_, users_, {"/bin/sh", "-c", "echo no such thing >&2; exit 3"});
  ASSERT_FALSE(kept.ok());
  EXPECT_THAT(kept.error().message(), HasSubstr("no such thing"));
  auto missing = StartKept(network_, users_, {"/nosuch"});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("/nosuch"));
}

}  // namespace
}  // namespace msb::network
