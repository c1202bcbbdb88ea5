// SPDX-License-Identifier: Apache-2.0
// Run by root: a bridge.

#include "programs/microbox/network.h"

#include <unistd.h>

#include <optional>

#include "base/text.h"
#include "network/bridge.h"
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

}  // namespace

struct Network::State {
  NetworkFacts facts;
  std::optional<network::Bridge> bridge;
  std::optional<network::Publisher> publisher;
};

Network::Network(std::unique_ptr<State> state) : state_(std::move(state)) {}
Network::Network(Network&&) noexcept = default;
Network::~Network() = default;

Result<Network> Network::Prepare(Options& options) {
  Network network(std::make_unique<State>());
  State& state = *network.state_;
  state.facts = FactsOf(options);
  bool root = ::geteuid() == 0;
  if (!options.bridge) {
    // What others left is in nobody's way: it stays for the next if it cannot be taken away.
    if (root) (void)network::RemoveAbandoned();
    return network;
  }
  if (!root)
    return Error(Code::kPermissionDenied, "--net bridge is for root")
        .Remedy("run it as root, or --net none");
  if (!options.ports.empty())
    state.publisher.emplace(TRY(network::Publisher::Listen(options.ports)));
  state.bridge.emplace(TRY(network::Bridge::Prepare(options.policy)));
  state.facts.address = network::FormatAddress(state.bridge->slot().address);
  state.facts.gateway = network::FormatAddress(state.bridge->slot().gateway);
  state.facts.by = "host";
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
  if (state_->bridge) std::move(*state_->bridge).CloseBehind();
  state_->bridge.reset();
}

const NetworkFacts& Network::facts() const { return state_->facts; }

}  // namespace msb::microbox
