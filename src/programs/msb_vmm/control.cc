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

Result<void> ControlSocket::Watch(event::Loop& loop, std::function<void()> gone) {
  watch_ = TRY(loop.Watch(socket_, event::Interest::kRead,
                          [gone = std::move(gone)](event::Ready) { gone(); }));
  return {};
}

}  // namespace msb::vmm
