// SPDX-License-Identifier: Apache-2.0
// Run by root: a bridge. By an ordinary user: pasta(1), and rules inside.

#include "programs/microbox/network.h"

#include <unistd.h>

#include <optional>

#include "base/text.h"
#include "jail/box/policy.h"
#include "network/bridge.h"
#include "network/carrier.h"
#include "network/publisher.h"

namespace msb::microbox {
namespace {

NetworkFacts FactsOf(const Options& options) {
  NetworkFacts facts;
  if (options.spec.net == box::NetMode::kHost) facts.mode = "host";
  if (!options.bridge) return facts;
  facts.mode = "bridge";
  for (const network::Cidr& block : network::kRefused)
    facts.refused.push_back(network::FormatCidr(block));
  if (!options.policy.host) facts.refused.emplace_back("host");
  facts.refused.emplace_back("sandboxes");
  facts.refused.emplace_back("IPv6");
  for (const network::Cidr& block : options.policy.allowed)
    facts.allowed.push_back(network::FormatCidr(block));
  if (options.policy.host) facts.allowed.emplace_back("host");
  for (uint32_t server : options.policy.servers)
    facts.allowed.push_back(Cat(network::FormatAddress(server), ":53"));
  for (const network::PublishedPort& port : options.ports)
    facts.ports.push_back(network::FormatPublishedPort(port));
  return facts;
}

void Name(const network::Slot& slot, std::string_view by, NetworkFacts& facts) {
  facts.address = network::FormatAddress(slot.address);
  facts.gateway = network::FormatAddress(slot.gateway);
  facts.by = by;
}

// An ordinary user's rules hold for whoever cannot change them, or go around them below.
Result<void> CheckCarried(const Options& options, Sockets sockets) {
  int admin = TRY(box::CapabilityNumber("NET_ADMIN"));
  if ((options.spec.capabilities >> admin & 1) != 0)
    return Error(Code::kInvalidArgument,
                 "--net bridge with --cap-add NET_ADMIN: without root the command could change "
                 "what is "
                 "refused")
        .Remedy("leave one of the two out, or run microbox as root");
  if (sockets == Sockets::kMore)
    return Error(
               Code::kInvalidArgument,
               "--net bridge with --learn, or with socket or io_uring_setup allowed: without root "
               "the command could go around what is refused")
        .Remedy("leave one of the two out, or run microbox as root");
  return {};
}

}  // namespace

struct Network::State {
  NetworkFacts facts;
  std::optional<network::Bridge> bridge;
  std::optional<network::Carrier> carrier;
  std::optional<network::Publisher> publisher;
};

Network::Network(std::unique_ptr<State> state) : state_(std::move(state)) {}
Network::Network(Network&&) noexcept = default;
Network::~Network() = default;

Result<Network> Network::Prepare(Options& options, Sockets sockets) {
  Network network(std::make_unique<State>());
  State& state = *network.state_;
  state.facts = FactsOf(options);
  bool root = ::geteuid() == 0;
  if (!options.bridge) {
    // What others left is in nobody's way: it stays for the next if it cannot be taken away.
    if (root) (void)network::RemoveAbandoned();
    return network;
  }
  if (!root) {
    TRY(CheckCarried(options, sockets));
    TRY(network::Carrier::Check(options.ports).Context("--net bridge"));
    Name(network::Carrier::Addresses(), "pasta; the rules lie in the sandbox's network",
         state.facts);
    options.spec.network = [&state, &options](BorrowedFd space, BorrowedFd users) -> Result<void> {
      auto carrier = network::Carrier::Start(space, users, options.policy, options.ports);
      if (!carrier) return std::move(carrier).error().Context("--net bridge");
      state.carrier.emplace(*std::move(carrier));
      return {};
    };
    return network;
  }
  if (!options.ports.empty())
    state.publisher.emplace(TRY(network::Publisher::Listen(options.ports)));
  state.bridge.emplace(TRY(network::Bridge::Prepare(options.policy)));
  Name(state.bridge->slot(), "the host", state.facts);
  options.spec.network = [&state](BorrowedFd space, BorrowedFd) {
    return state.bridge->Attach(space);
  };
  return network;
}

Result<void> Network::Begin() {
  if (!state_->publisher) return {};
  return state_->publisher->Begin(state_->bridge->slot().address);
}

int Network::fd() const { return state_->publisher ? state_->publisher->fd().get() : -1; }

void Network::Move() { state_->publisher->Move(); }

void Network::End() {
  state_->publisher.reset();
  state_->carrier.reset();
  if (state_->bridge) std::move(*state_->bridge).CloseBehind();
  state_->bridge.reset();
}

const NetworkFacts& Network::facts() const { return state_->facts; }

}  // namespace msb::microbox
