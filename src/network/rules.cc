// SPDX-License-Identifier: Apache-2.0
// The two tables, rule by rule.

#include "network/rules.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include "base/text.h"

namespace msb::network {
namespace {

constexpr uint16_t kDns = 53;
// Of the host's own table of connections, which sandboxes must not fill (262 144 by default).
constexpr uint32_t kConnections = 4096;
// Between connection tracking (-200) and the translation of destinations (-100).
constexpr int32_t kBeforeNat = -150;
constexpr int32_t kSourceNat = 100;

std::string ChainOf(uint32_t number) { return Cat("s", number); }

void AddSharedChains(NftBatch& batch) {
  batch.Chain("refuse");
  batch.Rule("refuse", [](NftRule& rule) { rule.ResetTcp(); });
  batch.Rule("refuse", [](NftRule& rule) { rule.Unreachable(); });
  batch.Chain("public");
  for (const Cidr& block : kRefused) {
    batch.Rule("public", [&](NftRule& rule) {
      rule.Destination(block);
      rule.Goto("refuse");
    });
  }
  batch.Rule("public", [](NftRule& rule) { rule.Accept(); });
}

void AcceptServers(NftBatch& batch, std::string_view chain, const Policy& policy) {
  for (uint32_t server : policy.servers) {
    for (uint8_t protocol : {uint8_t{IPPROTO_UDP}, uint8_t{IPPROTO_TCP}}) {
      batch.Rule(chain, [&](NftRule& rule) {
        rule.Destination({server, 32});
        rule.Protocol(protocol);
        rule.DestinationPort(kDns);
        rule.Accept();
      });
    }
  }
}

void AcceptAllowed(NftBatch& batch, std::string_view chain, const Policy& policy) {
  for (const Cidr& block : policy.allowed) {
    batch.Rule(chain, [&](NftRule& rule) {
      rule.Destination(block);
      rule.Accept();
    });
  }
  batch.Rule(chain, [](NftRule& rule) { rule.Goto("public"); });
}

void AcceptAnswers(NftBatch& batch, std::string_view chain) {
  batch.Rule(chain, [](NftRule& rule) {
    rule.State(NftRule::kEstablished | NftRule::kRelated);
    rule.Accept();
  });
}

void AddForward(NftBatch& batch) {
  batch.Chain("forward", BaseChain{"filter", NF_INET_FORWARD, 0});
  batch.InterfaceSet("switched");
  batch.Rule("forward", [](NftRule& rule) {
    rule.Interfaces(Side::kIn, kLinkPrefix);
    rule.Interfaces(Side::kOut, kLinkPrefix);
    rule.Drop();
  });
  batch.Rule("forward", [](NftRule& rule) {
    rule.Interfaces(Side::kOut, kLinkPrefix);
    rule.State(NftRule::kEstablished | NftRule::kRelated);
    rule.Accept();
  });
  batch.Rule("forward", [](NftRule& rule) {
    rule.Interfaces(Side::kOut, kLinkPrefix);
    rule.Drop();
  });
  // The host has become no router for its neighbours. What others publish by translation of
  // destinations, having come to the host after us, goes through.
  batch.Rule("forward", [](NftRule& rule) {
    rule.InterfaceIn(Side::kIn, "switched");
    rule.State(NftRule::kEstablished | NftRule::kRelated, Match::kIsNot);
    rule.StatusWithout(IPS_DST_NAT);
    rule.Drop();
  });
}

}  // namespace

void AddHostTable(NftBatch& batch) {
  batch.CreateTable();
  AddSharedChains(batch);
  batch.Chain("from");
  batch.InterfaceMap("sandboxes");
  batch.Rule("from", [](NftRule& rule) {
    rule.Family(NFPROTO_IPV4, Match::kIsNot);
    rule.Drop();
  });
  batch.Rule("from", [](NftRule& rule) { rule.VerdictByInterface(Side::kIn, "sandboxes"); });
  batch.Rule("from", [](NftRule& rule) { rule.Drop(); });
  batch.Chain("prerouting", BaseChain{"filter", NF_INET_PRE_ROUTING, kBeforeNat});
  batch.Rule("prerouting", [](NftRule& rule) {
    rule.Interfaces(Side::kIn, kLinkPrefix);
    rule.Goto("from");
  });
  AddForward(batch);
  batch.Chain("postrouting", BaseChain{"nat", NF_INET_POST_ROUTING, kSourceNat});
  batch.Rule("postrouting", [](NftRule& rule) {
    rule.Interfaces(Side::kIn, kLinkPrefix);
    rule.Masquerade();
  });
}

void AddSandbox(NftBatch& batch, const Slot& slot, const Policy& policy,
                std::span<const std::string> switched) {
  std::string chain = ChainOf(slot.number);
  batch.Chain(chain);
  batch.Flush(chain);
  batch.Rule(chain, [&](NftRule& rule) {
    rule.Source({slot.address, 32}, Match::kIsNot);
    rule.Drop();
  });
  AcceptAnswers(batch, chain);
  batch.Rule(chain, [](NftRule& rule) {
    rule.MoreConnectionsThan(kConnections);
    rule.Drop();
  });
  AcceptServers(batch, chain, policy);
  if (policy.host) {
    batch.Rule(chain, [](NftRule& rule) {
      rule.DestinationType(RTN_LOCAL);
      rule.Accept();
    });
  }
  batch.Rule(chain, [](NftRule& rule) {
    rule.DestinationType(RTN_UNICAST, Match::kIsNot);
    rule.Goto("refuse");
  });
  AcceptAllowed(batch, chain, policy);
  batch.Element("sandboxes", slot.Link(), chain);
  for (const std::string& name : switched) batch.Element("switched", name);
}

void RemoveSandbox(NftBatch& batch, uint32_t number) {
  batch.DeleteElement("sandboxes", Cat(kLinkPrefix, number));
  batch.DeleteChain(ChainOf(number));
}

void AddInnerTable(NftBatch& batch, uint32_t address, const Policy& policy,
                   std::span<const uint32_t> host) {
  batch.CreateTable();
  AddSharedChains(batch);
  batch.Chain("output", BaseChain{"filter", NF_INET_LOCAL_OUT, 0});
  batch.Rule("output", [](NftRule& rule) {
    rule.Interface(Side::kOut, "lo");
    rule.Accept();
  });
  batch.Rule("output", [](NftRule& rule) {
    rule.Family(NFPROTO_IPV4, Match::kIsNot);
    rule.Drop();
  });
  batch.Rule("output", [&](NftRule& rule) {
    rule.Source({address, 32}, Match::kIsNot);
    rule.Drop();
  });
  AcceptAnswers(batch, "output");
  AcceptServers(batch, "output", policy);
  for (uint32_t one : host) {
    batch.Rule("output", [&](NftRule& rule) {
      rule.Destination({one, 32});
      policy.host ? rule.Accept() : rule.Goto("refuse");
    });
  }
  AcceptAllowed(batch, "output", policy);
}

}  // namespace msb::network
