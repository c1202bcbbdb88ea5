// SPDX-License-Identifier: Apache-2.0
// Values of options of the network.

#include "programs/microbox/network_options.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace msb::microbox {
namespace {

constexpr size_t kMostBlocks = 64, kMostPorts = 64, kMostServers = 16;

Error Bad(std::string_view message, std::string_view remedy) {
  return Error(Code::kInvalidArgument, std::string(message)).Remedy(std::string(remedy));
}

}  // namespace

Result<void> SetNetwork(Options& options, std::string_view value) {
  static const std::array<std::string, 3> kModes = {"none", "bridge", "host"};
  if (value != "none" && value != "bridge" && value != "host")
    return Bad(Cat("no such network: ", Escape(value, 64)),
               DidYouMean(value, kModes, "none, bridge or host"));
  options.bridge = value == "bridge";
  options.spec.net = value == "host" ? box::NetMode::kHost : box::NetMode::kNone;
  return {};
}

Result<void> AllowNetwork(Options& options, std::string_view value) {
  if (value == "host") {
    options.policy.host = true;
    return {};
  }
  if (options.policy.allowed.size() == kMostBlocks)
    return Bad(Cat("more than ", kMostBlocks, " blocks"), "name larger blocks");
  options.policy.allowed.push_back(TRY(network::ParseCidr(value)));
  return {};
}

Result<void> PublishPort(Options& options, std::string_view value) {
  if (options.ports.size() == kMostPorts)
    return Bad(Cat("more than ", kMostPorts, " ports"), "publish fewer");
  auto port = TRY(network::ParsePublishedPort(value));
  bool again = std::any_of(options.ports.begin(), options.ports.end(), [&](const auto& other) {
    return other.address == port.address && other.host_port == port.host_port &&
           other.transport == port.transport;
  });
  if (again) return Bad(Cat("port ", port.host_port, " is published twice"), "leave one out");
  options.ports.push_back(port);
  return {};
}

Result<void> FinishNetwork(Options& options) {
  if (!options.bridge) {
    if (!options.policy.allowed.empty() || options.policy.host)
      return Bad("--net-allow says what a bridge lets through", "add --net bridge");
    if (!options.ports.empty()) return Bad("--publish leads into a bridge", "add --net bridge");
    return {};
  }
  if (options.spec.dns.size() > kMostServers)
    return Bad(Cat("more than ", kMostServers, " name servers"), "name fewer");
  for (const std::string& server : options.spec.dns) {
    uint32_t address = TRY(network::ParseAddress(server).Context("--dns"));
    if (address >> 24 == 127)
      return Bad(Cat("--dns ", server, " is the host's loopback, where no bridge leads"),
                 "name the server that the host's own asks, as in resolvectl status");
    options.policy.servers.push_back(address);
  }
  return {};
}

}  // namespace msb::microbox
