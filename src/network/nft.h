// SPDX-License-Identifier: Apache-2.0
// nf_tables as netlink messages (linux/netfilter/nf_tables.h): one batch is one transaction, which
// the kernel carries out whole or not at all.
//
// A rule is a list of expressions that work on registers: one loads a piece of the packet, the
// next compares it and ends the rule when it differs, the last is the verdict. Numbers are big
// endian, but for what is loaded from the packet's metadata, which is in the host's order.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "network/address.h"
#include "sys/netlink.h"

namespace msb::network {

enum class Side : uint8_t { kIn, kOut };
enum class Match : uint8_t { kIs, kIsNot };

// The expressions of one rule, in order.
class NftRule {
 public:
  explicit NftRule(sys::NetlinkWriter& writer) : writer_(writer) {}

  void Interface(Side side, std::string_view name, Match match = Match::kIs);
  // All whose name begins so.
  void Interfaces(Side side, std::string_view beginning, Match match = Match::kIs);
  void InterfaceIn(Side side, std::string_view set);
  void Family(uint8_t family, Match match = Match::kIs);  // NFPROTO_*
  void Protocol(uint8_t protocol);                        // IPPROTO_*
  // Of IPv4: what comes before says that it is.
  void Source(const Cidr& cidr, Match match = Match::kIs);
  void Destination(const Cidr& cidr);
  void DestinationPort(uint16_t port);
  // Whether the host has the address, sends to many by it, ... (RTN_*, rtnetlink.h).
  void DestinationType(uint32_t type, Match match = Match::kIs);
  // One of these bits, or none of them: kEstablished | kRelated.
  void State(uint32_t states, Match match = Match::kIs);
  // None of these bits: IPS_DST_NAT.
  void StatusWithout(uint32_t status);
  // More connections than this are open that came to this rule.
  void MoreConnectionsThan(uint32_t count);

  void Accept() { Verdict(1, ""); }  // NF_ACCEPT
  void Drop() { Verdict(0, ""); }    // NF_DROP
  void Goto(std::string_view chain);
  void VerdictByInterface(Side side, std::string_view map);
  void ResetTcp();
  void Unreachable();  // ICMP: administratively prohibited.
  void Masquerade();

  static constexpr uint32_t kEstablished = 2, kRelated = 4;  // NF_CT_STATE_BIT()

 private:
  void Expression(std::string_view name, const std::function<void()>& data);
  void Load(uint32_t key);  // NFT_META_*
  void Payload(uint32_t base, uint32_t offset, uint32_t length);
  void Mask(std::span<const std::byte> mask);
  void Compare(Match match, std::span<const std::byte> value);
  void Address(uint32_t offset, const Cidr& cidr, Match match);
  void Lookup(std::string_view set, bool verdict);
  void Verdict(int32_t code, std::string_view chain);

  sys::NetlinkWriter& writer_;
};

struct BaseChain {
  std::string_view type;  // "filter", "nat"
  uint32_t hook;          // NF_INET_*
  int32_t priority;
};

// One transaction on one table of the family inet. `table` outlives it.
class NftBatch {
 public:
  explicit NftBatch(std::string_view table);

  // Fails the batch with EEXIST when there is one.
  void CreateTable();
  void DeleteTable();
  void Chain(std::string_view name, const std::optional<BaseChain>& base = std::nullopt);
  // Takes its rules away.
  void Flush(std::string_view chain);
  void DeleteChain(std::string_view chain);
  void Rule(std::string_view chain, const std::function<void(NftRule&)>& expressions);
  // Of names of interfaces; a map leads from each to a chain.
  void InterfaceSet(std::string_view name);
  void InterfaceMap(std::string_view name);
  void Element(std::string_view set, std::string_view interface, std::string_view chain = "");
  void DeleteElement(std::string_view set, std::string_view interface);

  // Ends the batch and has it carried out. Nothing follows.
  Result<void> Commit(sys::NetlinkSocket& netfilter);
  std::span<const std::byte> bytes() const { return writer_.bytes(); }

 private:
  void Begin(uint16_t message, uint16_t flags);
  void Set(std::string_view name, bool map);
  void Key(std::string_view set, std::string_view interface, std::string_view chain);

  sys::NetlinkWriter writer_;
  std::string_view table_;
  uint32_t sets_ = 0;
};

// Whether the table is there.
Result<bool> FindTable(sys::NetlinkSocket& netfilter, std::string_view table);
// Names of its chains.
Result<std::vector<std::string>> ListChains(sys::NetlinkSocket& netfilter, std::string_view table);

}  // namespace msb::network
