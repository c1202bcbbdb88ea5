// SPDX-License-Identifier: Apache-2.0
// The network of one sandbox that an ordinary user starts: pasta(1) carries what goes out as
// connections of the user's own, and rules in the sandbox's network namespace say what may.
//
// The rules are inside since an ordinary user has none outside: they hold against whoever has
// neither CAP_NET_ADMIN there nor sockets of other families than the policy of system calls lets
// through. Whoever starts a sandbox with more is to refuse this.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "network/policy.h"
#include "network/slot.h"
#include "sys/process.h"

namespace msb::network {

class Carrier {
 public:
  // What must be there, looked for before anything is made: pasta, /dev/net/tun, free ports.
  static Result<void> Check(std::span<const PublishedPort> ports);
  // `network`: with nothing but its loopback; `users`: the namespace that owns it, of our making.
  // Returns when packets can flow and the rules are in force. The caller has one thread.
  static Result<Carrier> Start(BorrowedFd network, BorrowedFd users, const Policy& policy,
                               std::span<const PublishedPort> ports);
  Carrier(Carrier&&) noexcept = default;
  Carrier& operator=(Carrier&&) = delete;
  // Ends it.
  ~Carrier();

  // The same for every sandbox: nobody else is on its network.
  static Slot Addresses() { return Slot::Of(kFirstSlot, kRanges[0]); }

 private:
  explicit Carrier(sys::Child keeper) : keeper_(std::move(keeper)) {}
  sys::Child keeper_;
};

// The command line, for tests.
std::vector<std::string> CarrierCommand(std::string program, std::span<const PublishedPort> ports);

}  // namespace msb::network
