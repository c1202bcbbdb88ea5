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

inline constexpr auto kChannelEvery = std::chrono::milliseconds(10);

class ControlSocket {
 public:
  explicit ControlSocket(UniqueFd socket) : socket_(std::move(socket)) {}

  // Any thread. Never waits: a supervisor that has hundreds of messages unread is past hope.
  void Say(std::string_view line) const;
  void SayEnd(const Outcome& outcome) const;
  // Loop thread. A guest may open and close its port as often as it likes: the first change is told
  // at once, then at most one in kChannelEvery, and always the last.
  void SayChannel(event::Loop& loop, bool open);
  // `gone` is called on the loop when the supervisor's end has been closed.
  Result<void> Watch(event::Loop& loop, std::function<void()> gone);

 private:
  const UniqueFd socket_;
  event::Loop::Registration watch_;
  bool channel_open_ = false;
  bool channel_told_ = false;  // As the supervisor knows it.
  Clock::time_point next_channel_{};
  event::Loop::Timer channel_later_;
};

}  // namespace msb::vmm
