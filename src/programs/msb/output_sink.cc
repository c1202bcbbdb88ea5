// SPDX-License-Identifier: Apache-2.0
// Four ways to write without blocking, by what stdout is.

#include "programs/msb/output_sink.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::cli {

OutputSink::OutputSink(event::Loop& loop, int fd, std::function<void(size_t)> on_written,
                       std::function<void(Error)> on_broken)
    : loop_(loop), fd_(fd), on_written_(std::move(on_written)), on_broken_(std::move(on_broken)) {
  struct stat status {};
  if (::fstat(fd, &status) == -1) return;
  terminal_ = ::isatty(fd) == 1;
  if (S_ISSOCK(status.st_mode)) way_ = Way::kSocket;
  if (!S_ISFIFO(status.st_mode) && !terminal_) return;
  // A description of our own: fails after su, where the pipe is another user's.
  auto own = sys::OpenAt(sys::Cwd(), Cat("/proc/self/fd/", fd), O_WRONLY | O_NONBLOCK | O_NOCTTY);
  way_ = own ? Way::kOwnDescription : Way::kPieces;
  if (own) own_ = *std::move(own);
}

Result<size_t> OutputSink::WriteSome(std::span<const std::byte> bytes) {
  Result<size_t> written = size_t{0};
  switch (way_) {
    case Way::kOwnDescription:
      written = sys::WriteSome(own_, bytes);
      break;
    case Way::kSocket: {
      ssize_t count =
          TEMP_FAILURE_RETRY(::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
      written = count >= 0 ? Result<size_t>(static_cast<size_t>(count)) : Error::Errno("send");
      break;
    }
    case Way::kPieces: {
      struct pollfd poller {
        fd_, POLLOUT, 0
      };
      if (::poll(&poller, 1, 0) == 0) return size_t{0};
      // A writable pipe takes PIPE_BUF bytes whole; a terminal has a few hundred free.
      size_t piece = std::min<size_t>(bytes.size(), terminal_ ? 256 : PIPE_BUF);
      written = sys::WriteSome(BorrowedFd::Raw(fd_), bytes.first(piece));
      break;
    }
    case Way::kDirect:
      written = sys::WriteSome(BorrowedFd::Raw(fd_), bytes);
      break;
  }
  if (!written && written.error().sys_errno() == EAGAIN) return size_t{0};
  return written;
}

void OutputSink::Write(std::span<const std::byte> bytes) {
  if (broken_) {
    on_written_(bytes.size());  // Thrown away: the sender may go on until it is told.
    return;
  }
  while (drained() && !waiting_ && !bytes.empty()) {
    auto written = WriteSome(bytes);
    if (!written) {
      on_written_(bytes.size());
      Break(std::move(written).error());
      return;
    }
    if (*written == 0) break;
    on_written_(*written);
    bytes = bytes.subspan(*written);
  }
  if (bytes.empty()) return;
  queue_.insert(queue_.end(), bytes.begin(), bytes.end());
  WaitWritable();
}

void OutputSink::WaitWritable() {
  if (std::exchange(waiting_, true)) return;
  auto watch = loop_.Watch(own_ ? BorrowedFd(own_) : BorrowedFd::Raw(fd_), event::Interest::kWrite,
                           [this](event::Ready) { Flush(); });
  if (watch)
    watch_ = *std::move(watch);
  else
    Break(std::move(watch).error());
}

void OutputSink::Flush() {
  while (!drained()) {
    auto written = WriteSome(std::span(queue_).subspan(sent_));
    if (!written) return Break(std::move(written).error());
    if (*written == 0) return;
    sent_ += *written;
    on_written_(*written);
  }
  queue_.clear();
  sent_ = 0;
  waiting_ = false;
  watch_.Cancel();
}

void OutputSink::Break(Error error) {
  if (std::exchange(broken_, true)) return;
  watch_.Cancel();
  waiting_ = false;
  size_t left = queue_.size() - sent_;
  queue_.clear();
  sent_ = 0;
  if (left > 0) on_written_(left);
  on_broken_(std::move(error));
}

}  // namespace msb::cli
