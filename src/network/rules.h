// SPDX-License-Identifier: Apache-2.0
// The rules of nf_tables, as batches: a table on the host that all sandboxes share, with a chain
// for each, and a table inside a sandbox whose network an ordinary user's program carries.
//
// On the host (table `inet microsandbox-1`; a change of its shape changes the number):
//
//   prerouting -150  from mbx-*: to chain `from`        before any translation of addresses
//   forward          mbx-* to mbx-*: drop; to mbx-*: answers only; through what was switched on to
//                    forward for our sake: nothing else
//   postrouting nat  from mbx-*: masquerade
//   from             not IPv4: drop; by interface to the sandbox's own chain; unknown: drop
//   sN               another source address: drop; too many connections: drop; answers: accept;
//                    name servers: accept; host: accept or refuse; allowed blocks: accept; `public`
//   public           private and special blocks: refuse; the rest: accept
//   refuse           TCP: reset; else ICMP "administratively prohibited"
//
// A chain `sN` whose sandbox was killed harms nobody (its interface is gone) and is written anew by
// whoever has the number next.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "network/nft.h"
#include "network/policy.h"
#include "network/slot.h"

namespace msb::network {

inline constexpr std::string_view kTable = "microsandbox-1";

// Fails with EEXIST when it is there.
void AddHostTable(NftBatch& batch);
// `switched`: interfaces that forward for our sake only.
void AddSandbox(NftBatch& batch, const Slot& slot, const Policy& policy,
                std::span<const std::string> switched);
void RemoveSandbox(NftBatch& batch, uint32_t number);

// For the sandbox's own namespace: what leaves it must come from `address` and obey the policy.
// `host`: the host's addresses, which only Policy::host opens.
void AddInnerTable(NftBatch& batch, uint32_t address, const Policy& policy,
                   std::span<const uint32_t> host);

}  // namespace msb::network
