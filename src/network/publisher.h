// SPDX-License-Identifier: Apache-2.0
// Published ports: listens on the host and carries what comes to the sandbox. In user space, so
// that 127.0.0.1 works as any address does, the host's rules stay as they are, and all of it ends
// with the process that does it.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "network/address.h"
#include "network/tcp_relay.h"
#include "network/udp_relay.h"

namespace msb::network {

class Publisher {
 public:
  // Ports that are in use are errors here, before anything starts.
  static Result<Publisher> Listen(std::span<const PublishedPort> ports);

  // What comes goes to the sandbox at `address` from here on.
  Result<void> Begin(uint32_t address);
  // Readable when Move() has something to do.
  BorrowedFd fd() const { return loop_->fd(); }
  void Move() { (void)loop_->RunOnce(Deadline::After({})); }

 private:
  explicit Publisher(std::unique_ptr<event::Loop> loop) : loop_(std::move(loop)) {}

  std::unique_ptr<event::Loop> loop_;
  struct Tcp {
    std::unique_ptr<TcpRelay> relay;
    uint16_t port;
  };
  struct Udp {
    std::unique_ptr<UdpRelay> relay;
    uint16_t port;
  };
  std::vector<Tcp> tcp_;
  std::vector<Udp> udp_;
};

}  // namespace msb::network
