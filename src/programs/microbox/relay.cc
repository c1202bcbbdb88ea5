// SPDX-License-Identifier: Apache-2.0
// A page at a time: read, count, write. Both sides are waited for, so that a reader who is slow
// delays neither signals nor deadlines.

#include "programs/microbox/relay.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/file.h"
#include "sys/process.h"

namespace msb::microbox {

Result<Relay> Relay::Make(std::optional<uint64_t> limit, box::Spec& spec) {
  Relay relay;
  if (!limit) return relay;
  relay.left_ = *limit;
  for (size_t i = 0; i < 2; i++) {
    Stream& stream = relay.streams_[i];
    sys::Pipe pipe = TRY(sys::MakePipe());
    stream.target = static_cast<int>(i) + 1;
    stream.source = std::move(pipe.read);
    stream.theirs = std::move(pipe.write);
    spec.streams[i + 1] = stream.theirs.get();
  }
  return relay;
}

void Relay::CloseTheirs() {
  for (Stream& stream : streams_) stream.theirs.Reset();
}

void Relay::Prepare(std::span<pollfd, 2> waits) const {
  for (size_t i = 0; i < 2; i++) {
    const Stream& stream = streams_[i];
    waits[i] = stream.size > 0 ? pollfd{stream.target, POLLOUT, 0}
                               : pollfd{stream.source ? stream.source.get() : -1, POLLIN, 0};
  }
}

bool Relay::Move(std::span<const pollfd, 2> waits) {
  bool over = false;
  for (size_t i = 0; i < 2; i++) {
    Stream& stream = streams_[i];
    if (waits[i].revents == 0) continue;
    if (stream.size > 0) {
      // Nobody reads: what is written is thrown away, as with a pipe of the command's own it would
      // have been told by SIGPIPE.
      ssize_t n = ::write(stream.target, stream.held.data(), stream.size);
      if (n == -1 && (errno == EINTR || errno == EAGAIN)) continue;
      size_t written = n == -1 ? stream.size : static_cast<size_t>(n);
      std::copy(stream.held.begin() + static_cast<ptrdiff_t>(written),
                stream.held.begin() + static_cast<ptrdiff_t>(stream.size), stream.held.begin());
      stream.size -= written;
      if (n == -1) stream.source.Reset();
      continue;
    }
    ssize_t n = ::read(stream.source.get(), stream.held.data(), stream.held.size());
    if (n == -1 && errno == EINTR) continue;
    if (n <= 0) {
      stream.source.Reset();
      continue;
    }
    stream.size = std::min<uint64_t>(static_cast<uint64_t>(n), left_);
    if (stream.size < static_cast<size_t>(n) && !over_) over = over_ = true;
    left_ -= stream.size;
  }
  return over;
}

bool Relay::Busy() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [](const Stream& stream) { return stream.size > 0 || stream.source; });
}

}  // namespace msb::microbox
