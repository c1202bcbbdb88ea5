// SPDX-License-Identifier: Apache-2.0
// The control socket is SOCK_SEQPACKET: one send() is one line.

#include "programs/msb_vmm/control.h"

#include <sys/socket.h>

#include "base/text.h"

namespace msb::vmm {
namespace {

// The detail of an end is a line for people.
constexpr size_t kMaxDetail = 480;

}  // namespace

void ControlSocket::Say(std::string_view line) const {
  [[maybe_unused]] ssize_t n =
      ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ControlSocket::SayEnd(const Outcome& outcome) const {
  Say(Cat("end ", OutcomeName(outcome.kind), " ", Escape(outcome.detail, kMaxDetail)));
}

void ControlSocket::SayChannel(event::Loop& loop, bool open) {
  channel_open_ = open;
  auto now = Clock::now();
  if (now < next_channel_) {
    channel_later_ =
        loop.After(next_channel_ - now, [this, &loop] { SayChannel(loop, channel_open_); });
    return;
  }
  channel_later_.Cancel();
  if (channel_told_ == open) return;
  channel_told_ = open;
  next_channel_ = now + kChannelEvery;
  Say(open ? "channel open" : "channel closed");
}

Result<void> ControlSocket::Watch(event::Loop& loop, std::function<void()> gone) {
  watch_ = TRY(loop.Watch(socket_, event::Interest::kRead,
                          [gone = std::move(gone)](event::Ready) { gone(); }));
  return {};
}

}  // namespace msb::vmm
