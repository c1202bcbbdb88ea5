// SPDX-License-Identifier: Apache-2.0
// Expressions and objects of nf_tables as attributes.

#include "network/nft.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace msb::network {
namespace {

constexpr uint32_t kRegister = NFT_REG_1;
constexpr uint32_t kInterfaceType = 41;  // As nft(8) numbers types of keys; for its listings.

using Name = std::array<char, IFNAMSIZ>;

Name Padded(std::string_view name) {
  Name padded{};
  std::copy_n(name.begin(), std::min(name.size(), padded.size() - 1), padded.begin());
  return padded;
}

std::span<const std::byte> BytesOf(const auto& value) {
  return std::as_bytes(std::span(&value, 1));
}

uint32_t MetaKey(Side side) { return side == Side::kIn ? NFT_META_IIFNAME : NFT_META_OIFNAME; }

}  // namespace

void NftRule::Expression(std::string_view name, const std::function<void()>& data) {
  writer_.Nest(NFTA_LIST_ELEM, [&] {
    writer_.Text(NFTA_EXPR_NAME, name);
    writer_.Nest(NFTA_EXPR_DATA, data);
  });
}

void NftRule::Load(uint32_t key) {
  Expression("meta", [&] {
    writer_.Big32(NFTA_META_KEY, key);
    writer_.Big32(NFTA_META_DREG, kRegister);
  });
}

void NftRule::Payload(uint32_t base, uint32_t offset, uint32_t length) {
  Expression("payload", [&] {
    writer_.Big32(NFTA_PAYLOAD_DREG, kRegister);
    writer_.Big32(NFTA_PAYLOAD_BASE, base);
    writer_.Big32(NFTA_PAYLOAD_OFFSET, offset);
    writer_.Big32(NFTA_PAYLOAD_LEN, length);
  });
}

void NftRule::Mask(std::span<const std::byte> mask) {
  std::array<std::byte, 16> zeros{};
  Expression("bitwise", [&] {
    writer_.Big32(NFTA_BITWISE_SREG, kRegister);
    writer_.Big32(NFTA_BITWISE_DREG, kRegister);
    writer_.Big32(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
    writer_.Nest(NFTA_BITWISE_MASK, [&] { writer_.Bytes(NFTA_DATA_VALUE, mask); });
    writer_.Nest(NFTA_BITWISE_XOR,
                 [&] { writer_.Bytes(NFTA_DATA_VALUE, std::span(zeros).first(mask.size())); });
  });
}

void NftRule::Compare(Match match, std::span<const std::byte> value) {
  Expression("cmp", [&] {
    writer_.Big32(NFTA_CMP_SREG, kRegister);
    writer_.Big32(NFTA_CMP_OP, match == Match::kIs ? NFT_CMP_EQ : NFT_CMP_NEQ);
    writer_.Nest(NFTA_CMP_DATA, [&] { writer_.Bytes(NFTA_DATA_VALUE, value); });
  });
}

void NftRule::Interface(Side side, std::string_view name, Match match) {
  Load(MetaKey(side));
  Compare(match, BytesOf(Padded(name)));
}

// Fewer bytes are compared than were loaded.
void NftRule::Interfaces(Side side, std::string_view beginning, Match match) {
  Load(MetaKey(side));
  Compare(match, AsBytes(beginning));
}

void NftRule::InterfaceIn(Side side, std::string_view set) {
  Load(MetaKey(side));
  Lookup(set, false);
}

void NftRule::Family(uint8_t family, Match match) {
  Load(NFT_META_NFPROTO);
  Compare(match, BytesOf(family));
}

void NftRule::Protocol(uint8_t protocol) {
  Load(NFT_META_L4PROTO);
  Compare(Match::kIs, BytesOf(protocol));
}

void NftRule::Address(uint32_t offset, const Cidr& cidr, Match match) {
  Payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4);
  if (cidr.bits < 32) Mask(BytesOf(htonl(cidr.Mask())));
  Compare(match, BytesOf(htonl(cidr.address)));
}

// Offsets of the IPv4 header (RFC 791, 3.1) and of TCP's and UDP's.
void NftRule::Source(const Cidr& cidr, Match match) { Address(12, cidr, match); }
void NftRule::Destination(const Cidr& cidr) { Address(16, cidr, Match::kIs); }
void NftRule::DestinationPort(uint16_t port) {
  Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
  Compare(Match::kIs, BytesOf(htons(port)));
}

void NftRule::DestinationType(uint32_t type, Match match) {
  Expression("fib", [&] {
    writer_.Big32(NFTA_FIB_DREG, kRegister);
    writer_.Big32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    writer_.Big32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  });
  Compare(match, BytesOf(type));
}

void NftRule::State(uint32_t states, Match match) {
  Expression("ct", [&] {
    writer_.Big32(NFTA_CT_KEY, NFT_CT_STATE);
    writer_.Big32(NFTA_CT_DREG, kRegister);
  });
  Mask(BytesOf(states));
  Compare(match == Match::kIs ? Match::kIsNot : Match::kIs, BytesOf(uint32_t{0}));
}

void NftRule::StatusWithout(uint32_t status) {
  Expression("ct", [&] {
    writer_.Big32(NFTA_CT_KEY, NFT_CT_STATUS);
    writer_.Big32(NFTA_CT_DREG, kRegister);
  });
  Mask(BytesOf(status));
  Compare(Match::kIs, BytesOf(uint32_t{0}));
}

void NftRule::MoreConnectionsThan(uint32_t count) {
  Expression("connlimit", [&] {
    writer_.Big32(NFTA_CONNLIMIT_COUNT, count);
    writer_.Big32(NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
  });
}

void NftRule::Lookup(std::string_view set, bool verdict) {
  Expression("lookup", [&] {
    writer_.Text(NFTA_LOOKUP_SET, set);
    writer_.Big32(NFTA_LOOKUP_SREG, kRegister);
    if (verdict) writer_.Big32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  });
}

void NftRule::VerdictByInterface(Side side, std::string_view map) {
  Load(MetaKey(side));
  Lookup(map, true);
}

void NftRule::Verdict(int32_t code, std::string_view chain) {
  Expression("immediate", [&] {
    writer_.Big32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    writer_.Nest(NFTA_IMMEDIATE_DATA, [&] {
      writer_.Nest(NFTA_DATA_VERDICT, [&] {
        writer_.Big32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
        if (!chain.empty()) writer_.Text(NFTA_VERDICT_CHAIN, chain);
      });
    });
  });
}

void NftRule::Goto(std::string_view chain) { Verdict(NFT_GOTO, chain); }

void NftRule::ResetTcp() {
  Protocol(IPPROTO_TCP);
  Expression("reject", [&] { writer_.Big32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST); });
}

void NftRule::Unreachable() {
  Expression("reject", [&] {
    writer_.Big32(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
    writer_.Value(NFTA_REJECT_ICMP_CODE, static_cast<uint8_t>(NFT_REJECT_ICMPX_ADMIN_PROHIBITED));
  });
}

void NftRule::Masquerade() {
  Expression("masq", [] {});
}

NftBatch::NftBatch(std::string_view table) : table_(table) {
  nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  writer_.Begin(NFNL_MSG_BATCH_BEGIN, 0, header);
}

void NftBatch::Begin(uint16_t message, uint16_t flags) {
  nfgenmsg header{NFPROTO_INET, NFNETLINK_V0, 0};
  writer_.Begin(static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message), flags, header);
}

void NftBatch::CreateTable() {
  Begin(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
  writer_.Text(NFTA_TABLE_NAME, table_);
}

void NftBatch::DeleteTable() {
  Begin(NFT_MSG_DELTABLE, 0);
  writer_.Text(NFTA_TABLE_NAME, table_);
}

void NftBatch::Chain(std::string_view name, const std::optional<BaseChain>& base) {
  Begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  writer_.Text(NFTA_CHAIN_TABLE, table_);
  writer_.Text(NFTA_CHAIN_NAME, name);
  if (!base) return;
  writer_.Text(NFTA_CHAIN_TYPE, base->type);
  writer_.Nest(NFTA_CHAIN_HOOK, [&] {
    writer_.Big32(NFTA_HOOK_HOOKNUM, base->hook);
    writer_.Big32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(base->priority));
  });
}

void NftBatch::Flush(std::string_view chain) {
  Begin(NFT_MSG_DELRULE, 0);
  writer_.Text(NFTA_RULE_TABLE, table_);
  writer_.Text(NFTA_RULE_CHAIN, chain);
}

void NftBatch::DeleteChain(std::string_view chain) {
  Begin(NFT_MSG_DELCHAIN, 0);
  writer_.Text(NFTA_CHAIN_TABLE, table_);
  writer_.Text(NFTA_CHAIN_NAME, chain);
}

void NftBatch::Rule(std::string_view chain, const std::function<void(NftRule&)>& expressions) {
  Begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  writer_.Text(NFTA_RULE_TABLE, table_);
  writer_.Text(NFTA_RULE_CHAIN, chain);
  writer_.Nest(NFTA_RULE_EXPRESSIONS, [&] {
    NftRule rule(writer_);
    expressions(rule);
  });
}

void NftBatch::Set(std::string_view name, bool map) {
  Begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  writer_.Text(NFTA_SET_TABLE, table_);
  writer_.Text(NFTA_SET_NAME, name);
  writer_.Big32(NFTA_SET_FLAGS, map ? NFT_SET_MAP : 0);
  writer_.Big32(NFTA_SET_KEY_TYPE, kInterfaceType);
  writer_.Big32(NFTA_SET_KEY_LEN, IFNAMSIZ);
  if (map) writer_.Big32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
  writer_.Big32(NFTA_SET_ID, ++sets_);
}

void NftBatch::InterfaceSet(std::string_view name) { Set(name, false); }
void NftBatch::InterfaceMap(std::string_view name) { Set(name, true); }

void NftBatch::Key(std::string_view set, std::string_view interface, std::string_view chain) {
  writer_.Text(NFTA_SET_ELEM_LIST_TABLE, table_);
  writer_.Text(NFTA_SET_ELEM_LIST_SET, set);
  writer_.Nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
    writer_.Nest(NFTA_LIST_ELEM, [&] {
      writer_.Nest(NFTA_SET_ELEM_KEY,
                   [&] { writer_.Bytes(NFTA_DATA_VALUE, BytesOf(Padded(interface))); });
      if (chain.empty()) return;
      writer_.Nest(NFTA_SET_ELEM_DATA, [&] {
        writer_.Nest(NFTA_DATA_VERDICT, [&] {
          writer_.Big32(NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_GOTO));
          writer_.Text(NFTA_VERDICT_CHAIN, chain);
        });
      });
    });
  });
}

void NftBatch::Element(std::string_view set, std::string_view interface, std::string_view chain) {
  Begin(NFT_MSG_NEWSETELEM, NLM_F_CREATE);
  Key(set, interface, chain);
}

void NftBatch::DeleteElement(std::string_view set, std::string_view interface) {
  Begin(NFT_MSG_DELSETELEM, 0);
  Key(set, interface, "");
}

Result<void> NftBatch::Commit(sys::NetlinkSocket& netfilter) {
  nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  writer_.Begin(NFNL_MSG_BATCH_END, 0, header);
  return netfilter.Execute(writer_).Context(Cat("nftables: table ", table_));
}

Result<bool> FindTable(sys::NetlinkSocket& netfilter, std::string_view table) {
  sys::NetlinkWriter ask;
  nfgenmsg header{NFPROTO_INET, NFNETLINK_V0, 0};
  ask.Begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, header);
  ask.Text(NFTA_TABLE_NAME, table);
  auto asked = netfilter.Execute(ask);
  if (!asked && asked.error().sys_errno() == ENOENT) return false;
  TRY(std::move(asked).Context("nftables"));
  return true;
}

Result<std::vector<std::string>> ListChains(sys::NetlinkSocket& netfilter, std::string_view table) {
  sys::NetlinkWriter ask;
  nfgenmsg header{NFPROTO_INET, NFNETLINK_V0, 0};
  ask.Begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, header);
  std::vector<std::string> chains;
  TRY(netfilter
          .Execute(ask,
                   [&](uint16_t, std::span<const std::byte> payload) {
                     if (payload.size() < sizeof header) return;
                     sys::NetlinkAttributes attributes(payload.subspan(sizeof header));
                     if (attributes.Text(NFTA_CHAIN_TABLE) == table)
                       chains.emplace_back(attributes.Text(NFTA_CHAIN_NAME));
                   })
          .Context("nftables"));
  return chains;
}

}  // namespace msb::network
