// SPDX-License-Identifier: Apache-2.0
// Tables, links and routes in network namespaces of the test's own, in a child process: the kernel
// takes every message.

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/text.h"
#include "network/link.h"
#include "network/rules.h"
#include "network/settings.h"
#include "sys/file.h"
#include "sys/fork.h"

namespace msb::network {
namespace {

// In a child that is root of a network of its own; failures are said on stderr.
void InOwnNetwork(const std::function<Result<void>()>& body) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer's own thread: the kernel lets nobody with threads unshare users";
#endif
  auto child = sys::ForkChild([&] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1) return 2;
    auto done = body();
    if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return done ? 0 : 1;
  });
  ASSERT_TRUE(child.ok());
  auto ended = child->Wait(Deadline::Never());
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(ended->code, 0);
}

Error Wrong(std::string what) { return Error(Code::kInternal, std::move(what)); }

Policy Everything() {
  Policy policy;
  policy.servers = {0x08080808, 0x08080404};
  policy.allowed = {{0x0A630000, 16}, {0, 0}};
  policy.host = true;
  return policy;
}

TEST(HostTable, IsMadeOnceAndTakesSandboxesAgainAndAgain) {
  InOwnNetwork([]() -> Result<void> {
    auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
    if (TRY(FindTable(netfilter, kTable))) return Wrong("a table before there is one");
    NftBatch first(kTable);
    AddHostTable(first);
    TRY(first.Commit(netfilter));
    if (!TRY(FindTable(netfilter, kTable))) return Wrong("no table");
    NftBatch again(kTable);
    AddHostTable(again);
    auto twice = again.Commit(netfilter);
    if (twice || twice.error().sys_errno() != EEXIST) return Wrong("a second table");
    std::vector<std::string> switched = {"lan0"};
    // The second is by whoever has the number of one who was killed.
    for (int i = 0; i < 2; i++) {
      NftBatch batch(kTable);
      AddSandbox(batch, Slot::Of(3, kRanges[0]), i == 0 ? Policy{} : Everything(), switched);
      TRY(batch.Commit(netfilter));
    }
    auto chains = TRY(ListChains(netfilter, kTable));
    if (std::count(chains.begin(), chains.end(), "s3") != 1) return Wrong("no chain s3");
    NftBatch remove(kTable);
    RemoveSandbox(remove, 3);
    TRY(remove.Commit(netfilter));
    chains = TRY(ListChains(netfilter, kTable));
    if (std::count(chains.begin(), chains.end(), "s3") != 0) return Wrong("chain s3 stays");
    NftBatch all(kTable);
    all.DeleteTable();
    TRY(all.Commit(netfilter));
    if (TRY(FindTable(netfilter, kTable))) return Wrong("the table stays");
    return {};
  });
}

TEST(HostTable, IsNotMadeInPart) {
  InOwnNetwork([]() -> Result<void> {
    auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
    NftBatch batch(kTable);
    AddHostTable(batch);
    batch.Rule("public", [](NftRule& rule) { rule.Goto("nowhere"); });
    auto done = batch.Commit(netfilter);
    if (done || done.error().sys_errno() != ENOENT) return Wrong("a chain that is not there");
    if (TRY(FindTable(netfilter, kTable))) return Wrong("a part of it stays");
    return {};
  });
}

TEST(InnerTable, IsTaken) {
  InOwnNetwork([]() -> Result<void> {
    auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
    NftBatch batch(kTable);
    std::vector<uint32_t> host = {0xC0A80102};
    AddInnerTable(batch, 0x0A2C0003, Everything(), host);
    return batch.Commit(netfilter);
  });
}

TEST(Link, LeadsIntoAnotherNamespace) {
  InOwnNetwork([]() -> Result<void> {
    auto route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
    UniqueFd ours = TRY(sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY));
    if (::unshare(CLONE_NEWNET) == -1) return Error::Errno("unshare");
    auto inside = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
    TRY(DisableIpv6());
    UniqueFd theirs = TRY(sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY));
    if (::setns(ours.get(), CLONE_NEWNET) == -1) return Error::Errno("setns");

    auto slot = Slot::Of(5, kRanges[0]);
    if (TRY(FindWay(route, slot.address))) return Wrong("a way before there is one");
    TRY(MakePair(route, slot.Link(), kInnerLink, theirs));
    auto again = MakePair(route, slot.Link(), kInnerLink, theirs);
    if (again || again.error().sys_errno() != EEXIST) return Wrong("a second pair");
    auto outer = TRY(FindLink(route, slot.Link()));
    auto inner = TRY(FindLink(inside, kInnerLink));
    if (!outer || !inner) return Wrong("no link");
    TRY(RaiseHostEnd(route, *outer, {slot.gateway, kPairBits}, FindIpv6()));
    TRY(ConfigureInner(inside, *inner, {slot.address, kPairBits}, slot.gateway));
    if (!TRY(Forwards(slot.Link()))) return Wrong("it does not forward");

    auto way = TRY(FindWay(route, slot.address));
    if (!way || way->bits != kPairBits || way->index != *outer) return Wrong("the way inside");
    way = TRY(FindWay(inside, 0x08080808));
    if (!way || way->bits != 0 || way->index != *inner) return Wrong("the way outside");
    if (TRY(ListAddresses(route)) != std::vector{slot.gateway}) return Wrong("the addresses");
    if (TRY(ListRoutedLinks(route)) != std::vector{slot.Link()}) return Wrong("the routed links");

    TRY(RemoveLink(route, slot.Link()));
    TRY(RemoveLink(route, slot.Link()));
    if (TRY(FindLink(inside, kInnerLink))) return Wrong("the other end stays");
    return {};
  });
}

TEST(Link, WithoutARightToItIsAnError) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer's own thread: the kernel lets nobody with threads unshare users";
#endif
  auto child = sys::ForkChild([] {
    if (::unshare(CLONE_NEWUSER) == -1) return 2;
    auto route = NetlinkSocket::Open(NETLINK_ROUTE);
    if (!route) return 3;
    UniqueFd space = *sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY);
    auto made = MakePair(*route, "mbx-1", "eth0", space);
    return !made && made.error().sys_errno() == EPERM ? 0 : 1;
  });
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->Wait(Deadline::Never())->code, 0);
}

}  // namespace
}  // namespace msb::network
