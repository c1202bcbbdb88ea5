// SPDX-License-Identifier: Apache-2.0
// What is made for a bridge, in order, and how it goes again.

#include "network/bridge.h"

#include <linux/netlink.h>
#include <sched.h>

#include <cerrno>

#include "base/text.h"
#include "network/gate.h"
#include "network/link.h"
#include "network/nft.h"
#include "network/rules.h"
#include "network/settings.h"
#include "sys/file.h"
#include "sys/fork.h"

namespace msb::network {
namespace {

// Longer than it ever takes to take everything away.
constexpr auto kGateTimeout = std::chrono::seconds(30);
// A shorter destination is no claim on our addresses: a default route, in one part or in two.
constexpr int kShortestClaim = 8;

Error NoRights(Error error) {
  if (error.sys_errno() == EPERM || error.sys_errno() == EACCES)
    return std::move(error).Remedy(
        "a bridge needs CAP_NET_ADMIN: in a container, run it with --cap-add NET_ADMIN");
  if (error.sys_errno() == EPROTONOSUPPORT || error.sys_errno() == EOPNOTSUPP)
    return std::move(error).Remedy(
        "the kernel lacks nf_tables, veth or connection tracking: load them, or --net none");
  return error;
}

// A socket in `theirs`, where no IPv6 will be on what is made from now on.
Result<NetlinkSocket> OpenInside(BorrowedFd theirs) {
  UniqueFd ours = TRY(sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY));
  if (::setns(theirs.get(), CLONE_NEWNET) == -1) return Error::Errno("enter the sandbox's network");
  auto disabled = DisableIpv6();
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (::setns(ours.get(), CLONE_NEWNET) == -1) return Error::Errno("leave the sandbox's network");
  TRY(std::move(disabled));
  return socket;
}

}  // namespace

struct Bridge::State {
  std::string directory;
  std::optional<Gate> gate;  // None: all is undone.
  NetlinkSocket route, netfilter;
  Slot slot;
  bool ruled = false, linked = false;

  Result<void> ChooseSlot();
  Result<bool> IsFree(const Slot& wanted);
  Result<void> PutInForce(const Policy& policy);
  Result<void> MakeLink(BorrowedFd theirs);
  Result<void> Undo();
  void RemoveKilled();
};

namespace {

Result<std::vector<std::string>> LinksToSwitch() {
  std::vector<std::string> links;
  if (TRY(ForwardsEverywhere())) return links;
  auto route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
  for (std::string& link : TRY(ListRoutedLinks(route))) {
    if (link.starts_with(kLinkPrefix)) continue;
    // It may have gone meanwhile.
    auto forwards = Forwards(link);
    if (forwards && !*forwards) links.push_back(std::move(link));
  }
  return links;
}

// By whoever is alone. The first thing that failed; all is tried.
Result<void> RemoveShared(Gate gate, NetlinkSocket& netfilter) {
  Result<void> first;
  auto keep = [&](Result<void> result) {
    if (first && !result) first = std::move(result);
  };
  NftBatch batch(kTable);
  batch.DeleteTable();
  auto removed = batch.Commit(netfilter);
  if (!removed && removed.error().sys_errno() != ENOENT) keep(std::move(removed));
  auto switched = gate.Switched();
  auto everywhere = ForwardsEverywhere();
  if (switched && everywhere && !*everywhere) {
    for (const std::string& link : *switched) {
      auto forwards = Forwards(link);
      if (forwards && *forwards) keep(SetForwards(link, false));
    }
  }
  // As long as something is left, the file says so.
  if (first) keep(std::move(gate).Remove());
  return first;
}

}  // namespace

// Nobody else has a way there. What one who was killed left with this number is not in the way.
Result<bool> Bridge::State::IsFree(const Slot& wanted) {
  auto way = TRY(FindWay(route, wanted.address));
  if (!way || way->bits < kShortestClaim) return true;
  auto own = TRY(FindLink(route, wanted.Link()));
  if (!own || *own != way->index) return false;
  TRY(RemoveLink(route, wanted.Link()));
  way = TRY(FindWay(route, wanted.address));
  return !way || way->bits < kShortestClaim;
}

Result<void> Bridge::State::ChooseSlot() {
  uint32_t number = TRY(gate->ClaimNumber(kFirstSlot, kSlots));
  std::string names;
  for (const Cidr& range : kRanges) {
    slot = Slot::Of(number, range);
    if (TRY(IsFree(slot))) return {};
    names += Cat(names.empty() ? "" : ", ", FormatCidr(range));
  }
  return Error(Code::kResourceExhausted, Cat("the host has routes into all of ", names))
      .Remedy("take a route away, or use another network than bridge");
}

Result<void> Bridge::State::PutInForce(const Policy& policy) {
  auto links = TRY(LinksToSwitch());
  for (const std::string& link : links) TRY(gate->AddSwitched(link));
  bool there = TRY(FindTable(netfilter, kTable));
  for (;;) {
    NftBatch batch(kTable);
    if (!there) AddHostTable(batch);
    AddSandbox(batch, slot, policy, links);
    auto done = batch.Commit(netfilter);
    // Another who started at the same moment has made it.
    if (!done && !there && done.error().sys_errno() == EEXIST) {
      there = true;
      continue;
    }
    TRY(std::move(done));
    ruled = true;
    break;
  }
  for (const std::string& link : links) TRY(SetForwards(link, true));
  return {};
}

Result<void> Bridge::State::MakeLink(BorrowedFd theirs) {
  auto inside = TRY(OpenInside(theirs));
  auto made = MakePair(route, slot.Link(), kInnerLink, theirs);
  if (!made && made.error().sys_errno() == EEXIST) {
    TRY(RemoveLink(route, slot.Link()));
    made = MakePair(route, slot.Link(), kInnerLink, theirs);
  }
  TRY(std::move(made));
  linked = true;
  auto outer = TRY(FindLink(route, slot.Link()));
  auto inner = TRY(FindLink(inside, kInnerLink));
  if (!outer || !inner) return Error(Code::kInternal, "the link has gone");
  TRY(RaiseHostEnd(route, *outer, {slot.gateway, kPairBits}, FindIpv6()));
  return ConfigureInner(inside, *inner, {slot.address, kPairBits}, slot.gateway);
}

// Chains of sandboxes that nobody has the number of.
void Bridge::State::RemoveKilled() {
  auto chains = ListChains(netfilter, kTable);
  if (!chains) return;
  for (const std::string& chain : *chains) {
    auto number = chain.starts_with('s') ? ParseNumber<uint32_t>(chain.substr(1)) : std::nullopt;
    if (!number || *number == slot.number) continue;
    auto taken = gate->TryNumber(*number);
    if (!taken || !*taken) continue;
    NftBatch batch(kTable);
    RemoveSandbox(batch, *number);
    (void)batch.Commit(netfilter);
    gate->Release(*number);
  }
}

Result<void> Bridge::State::Undo() {
  Result<void> first;
  auto keep = [&](Result<void> result) {
    if (first && !result) first = std::move(result);
  };
  if (linked) keep(RemoveLink(route, slot.Link()));
  auto last = gate->BecomeLast();
  if (last && *last) {
    keep(RemoveShared(std::move(*gate), netfilter));
    gate.reset();
    return first;
  }
  if (ruled) {
    NftBatch batch(kTable);
    RemoveSandbox(batch, slot.number);
    keep(batch.Commit(netfilter));
  }
  RemoveKilled();
  // Two who leave at once are both not alone: each looks again when it has left.
  gate.reset();
  keep(RemoveAbandoned(directory));
  return first;
}

Bridge::Bridge(std::unique_ptr<State> state) : state_(std::move(state)) {}
Bridge::Bridge(Bridge&&) noexcept = default;
Bridge::~Bridge() {
  if (state_) (void)state_->Undo();
}

const Slot& Bridge::slot() const { return state_->slot; }

Result<Bridge> Bridge::Prepare(const Policy& policy, const std::string& directory) {
  auto prepare = [&]() -> Result<Bridge> {
    auto route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
    auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
    auto gate = TRY(Gate::Enter(directory, Deadline::After(kGateTimeout)));
    Bridge bridge(std::make_unique<State>(
        State{directory, std::move(gate), std::move(route), std::move(netfilter), {}}));
    TRY(bridge.state_->ChooseSlot());
    TRY(bridge.state_->PutInForce(policy));
    return bridge;
  };
  auto bridge = prepare();
  if (!bridge) return NoRights(std::move(bridge).error()).Context("--net bridge");
  return bridge;
}

Result<void> Bridge::Attach(BorrowedFd theirs) {
  auto made = state_->MakeLink(theirs);
  if (!made) return NoRights(std::move(made).error()).Context("--net bridge");
  return {};
}

void Bridge::CloseBehind() && {
  auto state = std::exchange(state_, nullptr);
  auto [dir, file] = state->gate->Descriptors();
  int keep[] = {state->route.fd().get(), state->netfilter.fd().get(), dir, file};
  auto behind = sys::ForkBehind(keep, [&] { (void)state->Undo(); });
  if (!behind) (void)state->Undo();
}

Result<void> RemoveAbandoned(const std::string& directory) {
  auto gate = TRY(Gate::EnterAbandoned(directory));
  if (!gate) return {};
  auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
  return RemoveShared(std::move(*gate), netfilter);
}

}  // namespace msb::network
