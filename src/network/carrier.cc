// SPDX-License-Identifier: Apache-2.0
// Rules first, then what carries.

#include "network/carrier.h"

#include <signal.h>
#include <unistd.h>

#include <optional>

#include "base/text.h"
#include "network/keeper.h"
#include "network/link.h"
#include "network/nft.h"
#include "network/publisher.h"
#include "network/rules.h"
#include "network/settings.h"

namespace msb::network {
namespace {

constexpr const char* kTun = "/dev/net/tun";

// Not by the caller's PATH: what it runs holds the sandbox's packets.
std::optional<std::string> FindPasta() {
  for (const char* path : {"/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta"})
    if (::access(path, X_OK) == 0) return path;
  return std::nullopt;
}

Error NoPasta() {
  return Error(Code::kFailedPrecondition,
               "pasta, which carries an ordinary user's network, is missing")
      .Remedy("install the package passt, or run microbox as root");
}

Result<void> PutRulesInForce(const Policy& policy, std::span<const uint32_t> host) {
  TRY(DisableIpv6());
  auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
  NftBatch batch(kTable);
  AddInnerTable(batch, Carrier::Addresses().address, policy, host);
  return batch.Commit(netfilter);
}

}  // namespace

std::vector<std::string> CarrierCommand(std::string program, std::span<const PublishedPort> ports) {
  Slot slot = Carrier::Addresses();
  std::vector<std::string> words = {
      std::move(program), "--quiet", "--ipv4-only", "--config-net", "--netns-only", "--netns",
      kNetworkPath, "--ns-ifname", std::string(kInnerLink), "--address",
      FormatAddress(slot.address), "--netmask", Cat(kPairBits), "--gateway",
      FormatAddress(slot.gateway),
      // The host is not to be reached by the gateway's address, nor
      // by the loopback's.
      "--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none", "--no-dhcp", "--no-dhcpv6", "--no-ndp",
      "--no-ra", "--dns", "none"};
  for (Transport transport : {Transport::kTcp, Transport::kUdp}) {
    const char* flag = transport == Transport::kTcp ? "--tcp-ports" : "--udp-ports";
    bool any = false;
    for (const PublishedPort& port : ports) {
      if (port.transport != transport) continue;
      any = true;
      words.insert(words.end(),
                   {flag, Cat(FormatAddress(port.address), "/", port.host_port, ":", port.port)});
    }
    if (!any) words.insert(words.end(), {flag, "none"});
  }
  return words;
}

Result<void> Carrier::Check(std::span<const PublishedPort> ports) {
  if (!FindPasta()) return NoPasta();
  if (::access(kTun, R_OK | W_OK) == -1)
    return Error::Errno(kTun).Remedy(
        "udev lets everybody open it: chmod 666 /dev/net/tun; where it is missing: modprobe tun");
  // Only tried: whose fault it is and what to do is said better here than there.
  TRY(Publisher::Listen(ports));
  return {};
}

Result<Carrier> Carrier::Start(BorrowedFd network, BorrowedFd users, const Policy& policy,
                               std::span<const PublishedPort> ports) {
  auto pasta = FindPasta();
  if (!pasta) return NoPasta();
  auto route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
  auto host = TRY(ListAddresses(route));
  TRY(RunInside(network, users, [&] { return PutRulesInForce(policy, host); })
          .Context("rules in the sandbox's network")
          .Remedy("the kernel lets no user namespace have rules of packets: run microbox as root"));
  return Carrier(TRY(StartKept(network, users, CarrierCommand(*pasta, ports))));
}

Carrier::~Carrier() {
  // Not waited for: its end is the kernel's business, and we end soon.
  UniqueFd keeper = std::move(keeper_).Detach();
  if (keeper) (void)sys::PidfdSendSignal(keeper, SIGKILL);
}

}  // namespace msb::network
