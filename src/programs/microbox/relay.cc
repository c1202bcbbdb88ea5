// SPDX-License-Identifier: Apache-2.0
// A page at a time: read, count, write. Both sides are waited for, and no write waits by itself, so
// that a reader who is slow or has stopped delays neither signals nor deadlines.

#include "programs/microbox/relay.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/file.h"
#include "sys/process.h"

namespace msb::microbox {

void Relay::WriteTo(size_t i) {
  // Poll promises room for something, a page may be more. Where it cannot be opened anew (a socket,
  // another user's terminal), the descriptor that we were given has to do.
  int target = static_cast<int>(i) + 1;
  auto fd = sys::OpenWithoutWaiting(BorrowedFd::Raw(target));
  if (fd) targets_[i] = *std::move(fd);
  streams_[i].target = targets_[i] ? targets_[i].get() : target;
}

Result<Relay> Relay::Make(std::optional<uint64_t> limit, box::Spec& spec) {
  Relay relay;
  if (!limit) return relay;
  relay.left_ = *limit;
  for (size_t i = 0; i < 2; i++) {
    // What is a terminal comes through the sandbox's own.
    if (spec.terminal && ::isatty(static_cast<int>(i) + 1) == 1) continue;
    sys::Pipe pipe = TRY(sys::MakePipe());
    relay.WriteTo(i);
    relay.streams_[i].source = pipe.read.get();
    relay.ours_[i] = std::move(pipe.read);
    relay.theirs_[i] = std::move(pipe.write);
    spec.streams[i + 1] = relay.theirs_[i].get();
  }
  return relay;
}

Result<void> Relay::Begin(UniqueFd terminal) {
  for (UniqueFd& end : theirs_) end.Reset();
  if (!terminal) return {};
  terminal_ = std::move(terminal);
  TRY(sys::SetNonBlocking(terminal_, true));
  streams_[0].source = terminal_.get();
  WriteTo(0);
  streams_[2].source = 0;
  streams_[2].target = terminal_.get();
  raw_.emplace(TRY(sys::RawTerminal::Enter(0)));
  return {};
}

void Relay::Resize() const {
  if (!terminal_) return;
  if (auto size = sys::GetWindowSize(0)) (void)::ioctl(terminal_.get(), TIOCSWINSZ, &*size);
}

void Relay::Prepare(std::span<pollfd, kWaits> waits) const {
  for (size_t i = 0; i < kWaits; i++) {
    const Stream& stream = streams_[i];
    waits[i] =
        stream.size > 0 ? pollfd{stream.target, POLLOUT, 0} : pollfd{stream.source, POLLIN, 0};
  }
}

bool Relay::Step(Stream& stream, bool counted) {
  if (stream.size > 0) {
    ssize_t n = ::write(stream.target, stream.held.data(), stream.size);
    if (n == -1 && (errno == EINTR || errno == EAGAIN)) return false;
    // Nobody reads: the command is told by SIGPIPE, as it would be of a pipe of its own.
    if (n == -1) stream.source = -1;
    size_t written = n == -1 ? stream.size : static_cast<size_t>(n);
    std::copy(stream.held.begin() + static_cast<ptrdiff_t>(written),
              stream.held.begin() + static_cast<ptrdiff_t>(stream.size), stream.held.begin());
    stream.size -= written;
    return false;
  }
  ssize_t n = ::read(stream.source, stream.held.data(), stream.held.size());
  if (n == -1 && (errno == EINTR || errno == EAGAIN)) return false;
  // EIO: nobody holds the other side of the terminal any more.
  if (n <= 0) {
    stream.source = -1;
    return false;
  }
  stream.size = static_cast<size_t>(n);
  if (!counted) return false;
  stream.size = std::min<uint64_t>(stream.size, left_);
  left_ -= stream.size;
  bool over = stream.size < static_cast<size_t>(n) && !over_;
  over_ = over_ || over;
  return over;
}

bool Relay::Move(std::span<const pollfd, kWaits> waits) {
  bool over = false;
  for (size_t i = 0; i < kWaits; i++) {
    if (waits[i].revents != 0) over = Step(streams_[i], i < 2) || over;
    // The command sees that its reader is gone.
    if (i < 2 && streams_[i].source == -1) ours_[i].Reset();
  }
  return over;
}

bool Relay::Busy() const {
  return std::any_of(streams_.begin(), streams_.begin() + 2,
                     [](const Stream& stream) { return stream.size > 0 || stream.source != -1; });
}

}  // namespace msb::microbox
