// SPDX-License-Identifier: Apache-2.0
// The agent's port of the virtio console: opened once at a time, by the agent only (a second open
// is EBUSY in the kernel). Tells when the host is on the other side.
//
// Without the host, poll() says POLLHUP for ever and read() gives 0. After a connection has ended
// the port is closed and opened again, which empties its buffers and shows the host that we know.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"

namespace msb::agent {

class Port {
 public:
  Port(event::Loop& loop, std::string path) : loop_(loop), path_(std::move(path)) {}

  // Opens the port; waits for its device to appear, which the kernel may do late.
  Result<void> Open(Deadline deadline);
  // Hands the open port to `connected` as soon as the host is there: at once, or from the loop.
  Result<void> WaitForHost(std::function<void(UniqueFd)> connected);

 private:
  bool HostIsThere() const;
  void OnEdge();

  event::Loop& loop_;
  std::string path_;
  UniqueFd port_;
  std::function<void(UniqueFd)> connected_;
  // An epoll of our own within the loop's: the hang-up of an absent host is level-triggered there
  // and would spin.
  UniqueFd edges_;
  event::Loop::Registration watch_;
};

}  // namespace msb::agent
