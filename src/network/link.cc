// SPDX-License-Identifier: Apache-2.0
// rtnetlink messages. Addresses are big endian in them, all else is in the host's order.

#include "network/link.h"

#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/text.h"

namespace msb::network {
namespace {

using sys::NetlinkAttributes;
using sys::NetlinkWriter;

template <class H>
std::optional<H> HeaderOf(std::span<const std::byte> payload) {
  if (payload.size() < sizeof(H)) return std::nullopt;
  return LoadLittle<H>(payload.data());
}

template <class H>
NetlinkAttributes AttributesOf(std::span<const std::byte> payload) {
  return NetlinkAttributes(payload.subspan(NLMSG_ALIGN(sizeof(H))));
}

ifinfomsg Link(uint32_t index, bool up) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = static_cast<int>(index);
  header.ifi_flags = header.ifi_change = up ? unsigned{IFF_UP} : 0;
  return header;
}

void AddAddress(NetlinkWriter& messages, uint32_t index, const Cidr& address) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = static_cast<uint8_t>(address.bits);
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_index = index;
  messages.Begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  messages.Big32(IFA_LOCAL, address.address);
  messages.Big32(IFA_ADDRESS, address.address);
}

// Names of all interfaces by index.
Result<std::map<uint32_t, std::string>> ListLinks(NetlinkSocket& route) {
  NetlinkWriter ask;
  ask.Begin(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  std::map<uint32_t, std::string> names;
  TRY(route.Execute(ask, [&](uint16_t type, std::span<const std::byte> payload) {
    auto header = HeaderOf<ifinfomsg>(payload);
    if (type != RTM_NEWLINK || !header) return;
    names[static_cast<uint32_t>(header->ifi_index)] =
        AttributesOf<ifinfomsg>(payload).Text(IFLA_IFNAME);
  }));
  return names;
}

}  // namespace

Result<std::optional<uint32_t>> FindLink(NetlinkSocket& route, std::string_view name) {
  NetlinkWriter ask;
  ask.Begin(RTM_GETLINK, 0, Link(0, false));
  ask.Text(IFLA_IFNAME, name);
  std::optional<uint32_t> index;
  auto asked = route.Execute(ask, [&](uint16_t type, std::span<const std::byte> payload) {
    auto header = HeaderOf<ifinfomsg>(payload);
    if (type == RTM_NEWLINK && header) index = static_cast<uint32_t>(header->ifi_index);
  });
  if (!asked && asked.error().sys_errno() != ENODEV)
    return std::move(asked).Context(Cat("find link ", name)).error();
  return index;
}

Result<void> RemoveLink(NetlinkSocket& route, std::string_view name) {
  NetlinkWriter ask;
  ask.Begin(RTM_DELLINK, 0, Link(0, false));
  ask.Text(IFLA_IFNAME, name);
  auto removed = route.Execute(ask);
  if (!removed && removed.error().sys_errno() == ENODEV) return {};
  return std::move(removed).Context(Cat("remove link ", name));
}

Result<void> MakePair(NetlinkSocket& route, std::string_view name, std::string_view inner,
                      BorrowedFd theirs) {
  NetlinkWriter ask;
  ask.Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, Link(0, false));
  ask.Text(IFLA_IFNAME, name);
  ask.Nest(IFLA_LINKINFO, [&] {
    ask.Text(IFLA_INFO_KIND, "veth");
    ask.Nest(IFLA_INFO_DATA, [&] {
      ask.Nest(VETH_INFO_PEER, [&] {
        ask.Inline(Link(0, false));
        ask.Text(IFLA_IFNAME, inner);
        ask.Value(IFLA_NET_NS_FD, static_cast<uint32_t>(theirs.get()));
      });
    });
  });
  return route.Execute(ask).Context(Cat("make link ", name));
}

Result<void> RaiseHostEnd(NetlinkSocket& route, uint32_t index, const Cidr& address, Ipv6 ipv6) {
  NetlinkWriter messages;
  messages.Begin(RTM_NEWLINK, 0, Link(index, true));
  messages.Nest(IFLA_AF_SPEC, [&] {
    messages.Nest(AF_INET, [&] {
      messages.Nest(IFLA_INET_CONF, [&] {
        messages.Value(IPV4_DEVCONF_FORWARDING, uint32_t{1});
        messages.Value(IPV4_DEVCONF_RP_FILTER, uint32_t{1});
        messages.Value(IPV4_DEVCONF_ARP_IGNORE, uint32_t{1});
        messages.Value(IPV4_DEVCONF_ACCEPT_REDIRECTS, uint32_t{0});
        messages.Value(IPV4_DEVCONF_SEND_REDIRECTS, uint32_t{0});
      });
    });
    if (ipv6 == Ipv6::kThere) {
      messages.Nest(AF_INET6, [&] {
        messages.Value(IFLA_INET6_ADDR_GEN_MODE, uint8_t{IN6_ADDR_GEN_MODE_NONE});
      });
    }
  });
  AddAddress(messages, index, address);
  return route.Execute(messages).Context("raise the host's end of the link");
}

Result<void> ConfigureInner(NetlinkSocket& route, uint32_t index, const Cidr& address,
                            uint32_t gateway) {
  NetlinkWriter messages;
  messages.Begin(RTM_NEWLINK, 0, Link(index, true));
  AddAddress(messages, index, address);
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  messages.Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header);
  messages.Big32(RTA_GATEWAY, gateway);
  messages.Value(RTA_OIF, index);
  return route.Execute(messages).Context("configure the sandbox's end of the link");
}

Result<std::optional<Way>> FindWay(NetlinkSocket& route, uint32_t address) {
  NetlinkWriter ask;
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_dst_len = 32;
  header.rtm_flags = RTM_F_FIB_MATCH;
  ask.Begin(RTM_GETROUTE, 0, header);
  ask.Big32(RTA_DST, address);
  std::optional<Way> way;
  auto asked = route.Execute(ask, [&](uint16_t type, std::span<const std::byte> payload) {
    auto found = HeaderOf<rtmsg>(payload);
    if (type != RTM_NEWROUTE || !found) return;
    auto index = AttributesOf<rtmsg>(payload).Value<uint32_t>(RTA_OIF);
    way = Way{found->rtm_dst_len, index.value_or(0)};
  });
  int error = asked ? 0 : asked.error().sys_errno();
  // Nothing leads there; or a route that says so, which is somebody's will.
  if (error == ENETUNREACH) return std::optional<Way>();
  if (error == EHOSTUNREACH || error == EACCES || error == EINVAL) return Way{32, 0};
  TRY(std::move(asked).Context(Cat("route to ", FormatAddress(address))));
  return way;
}

Result<std::vector<std::string>> ListRoutedLinks(NetlinkSocket& route) {
  auto names = TRY(ListLinks(route));
  NetlinkWriter ask;
  rtmsg header{};
  header.rtm_family = AF_INET;
  ask.Begin(RTM_GETROUTE, NLM_F_DUMP, header);
  std::vector<std::string> routed;
  TRY(route
          .Execute(ask,
                   [&](uint16_t type, std::span<const std::byte> payload) {
                     auto found = HeaderOf<rtmsg>(payload);
                     if (type != RTM_NEWROUTE || !found || found->rtm_table != RT_TABLE_MAIN)
                       return;
                     auto index = AttributesOf<rtmsg>(payload).Value<uint32_t>(RTA_OIF);
                     auto name = names.find(index.value_or(0));
                     if (name == names.end() || name->second == "lo") return;
                     if (std::find(routed.begin(), routed.end(), name->second) == routed.end())
                       routed.push_back(name->second);
                   })
          .Context("list routes"));
  return routed;
}

Result<std::vector<uint32_t>> ListAddresses(NetlinkSocket& route) {
  NetlinkWriter ask;
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  ask.Begin(RTM_GETADDR, NLM_F_DUMP, header);
  std::vector<uint32_t> addresses;
  TRY(route
          .Execute(ask,
                   [&](uint16_t type, std::span<const std::byte> payload) {
                     if (type != RTM_NEWADDR || !HeaderOf<ifaddrmsg>(payload)) return;
                     auto local = AttributesOf<ifaddrmsg>(payload).Value<uint32_t>(IFA_LOCAL);
                     if (local && ntohl(*local) >> 24 != 127) addresses.push_back(ntohl(*local));
                   })
          .Context("list addresses"));
  return addresses;
}

}  // namespace msb::network
