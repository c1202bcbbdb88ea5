// SPDX-License-Identifier: Apache-2.0
// The network of one sandbox that root starts: a link of its own to the host, an address, rules.
//
//   auto bridge = Bridge::Prepare(policy);   number, rules, forwarding
//   bridge.Attach(netns);                    link, addresses, route
//   ...                                      the command runs
//   bridge.CloseBehind();                    in reverse order; the last takes all that is shared
//
// Killed at any moment: the link dies with the sandbox's network namespace, the number is free,
// and the rest is taken away by the next who comes or goes (RemoveAbandoned()).

#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "network/policy.h"
#include "network/slot.h"

namespace msb::network {

inline constexpr const char* kRunDirectory = "/run/microsandbox";

class Bridge {
 public:
  // In the caller's network namespace, which needs CAP_NET_ADMIN. The caller has one thread.
  static Result<Bridge> Prepare(const Policy& policy, const std::string& directory = kRunDirectory);
  Bridge(Bridge&&) noexcept;
  Bridge& operator=(Bridge&&) = delete;
  ~Bridge();

  // `theirs`: a network namespace without other interfaces than its loopback.
  Result<void> Attach(BorrowedFd theirs);
  const Slot& slot() const;
  // When nothing of the sandbox runs any more: takes away what was made, as the destructor does,
  // but by a process that nobody waits for. The kernel takes 20 ms to let go of a link and of rules
  // (until no processor looks at them any more); then nothing is left.
  void CloseBehind() &&;

 private:
  struct State;
  explicit Bridge(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Takes away what sandboxes left that were killed, if none lives.
Result<void> RemoveAbandoned(const std::string& directory = kRunDirectory);

}  // namespace msb::network
