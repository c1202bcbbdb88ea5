// SPDX-License-Identifier: Apache-2.0
// Opening the port and waiting for its other end.

#include "agent/port.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>

#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

constexpr int kFlags = O_RDWR | O_NONBLOCK | O_NOCTTY;

}  // namespace

Result<void> Port::Open(Deadline deadline) {
  auto fd = sys::OpenAt(sys::Cwd(), path_, kFlags);
  if (!fd.ok() && fd.error().code() == Code::kNotFound) {
    UniqueFd events(::inotify_init1(IN_CLOEXEC));
    if (!events) return Error::Errno("inotify_init1");
    if (::inotify_add_watch(events.get(), "/dev", IN_CREATE | IN_ATTRIB) == -1)
      return Error::Errno("inotify_add_watch /dev");
    // Once more now that nothing can appear unseen.
    fd = sys::OpenAt(sys::Cwd(), path_, kFlags);
    while (!fd.ok() && fd.error().code() == Code::kNotFound) {
      pollfd wait{.fd = events.get(), .events = POLLIN, .revents = 0};
      if (deadline.Passed()) return std::move(fd).error();
      if (::poll(&wait, 1, deadline.PollTimeout()) == 1) {
        std::array<std::byte, 4096> seen;
        [[maybe_unused]] ssize_t n = ::read(events.get(), seen.data(), seen.size());
      }
      fd = sys::OpenAt(sys::Cwd(), path_, kFlags);
    }
  }
  port_ = TRY(std::move(fd));
  return {};
}

bool Port::HostIsThere() const {
  pollfd ask{.fd = port_.get(), .events = POLLOUT, .revents = 0};
  return ::poll(&ask, 1, 0) >= 0 && (ask.revents & POLLHUP) == 0;
}

Result<void> Port::WaitForHost(std::function<void(UniqueFd)> connected) {
  if (!port_) TRY(Open(Deadline::After(std::chrono::seconds(10))));
  if (HostIsThere()) {
    connected(std::move(port_));
    return {};
  }
  connected_ = std::move(connected);
  edges_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!edges_) return Error::Errno("epoll_create1");
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLET, {.u64 = 0}};
  if (::epoll_ctl(edges_.get(), EPOLL_CTL_ADD, port_.get(), &event) == -1)
    return Error::Errno("epoll_ctl EPOLL_CTL_ADD");
  watch_ = TRY(loop_.Watch(edges_, event::Interest::kRead, [this](event::Ready) { OnEdge(); }));
  return {};
}

void Port::OnEdge() {
  epoll_event seen;
  ::epoll_wait(edges_.get(), &seen, 1, 0);
  if (!HostIsThere()) return;
  watch_.Cancel();
  edges_.Reset();
  // Moved out first: the call may begin the next wait.
  auto connected = std::move(connected_);
  connected(std::move(port_));
}

}  // namespace msb::agent
