// SPDX-License-Identifier: Apache-2.0
// ControlSocket: what the VMM says to its supervisor, a line a message: "started", "channel open",
// "channel closed", "storage-full", "end KIND DETAIL". Nothing comes back; when the supervisor's
// end is closed there is nobody left to run for.

#pragma once

#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "vmm/machine/outcome.h"

namespace msb::vmm {

class ControlSocket {
 public:
  explicit ControlSocket(UniqueFd socket) : socket_(std::move(socket)) {}

  // Any thread. Never waits: a supervisor that has hundreds of messages unread is past hope.
  void Say(std::string_view line) const;
  void SayEnd(const Outcome& outcome) const;
  // `gone` is called on the loop when the supervisor's end has been closed.
  Result<void> Watch(event::Loop& loop, std::function<void()> gone);

 private:
  const UniqueFd socket_;
  event::Loop::Registration watch_;
};

}  // namespace msb::vmm
