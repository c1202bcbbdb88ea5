// SPDX-License-Identifier: Apache-2.0
// The three kinds of stdin.

#include "programs/msb/stdin_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "sys/file.h"

namespace msb::cli {

namespace {

// What one tee() or splice() moves at most.
constexpr size_t kPiece = size_t{1} << 20;

class FileSource : public StdinSource {
 public:
  explicit FileSource(BorrowedFd fd) : fd_(fd) {}

  Result<Piece> Read(std::span<std::byte> buffer) override {
    size_t count = TRY(sys::ReadSome(fd_, buffer));
    read_ += count;
    return Piece{count, count == 0};
  }
  std::optional<BorrowedFd> wait_fd() const override { return std::nullopt; }
  void Consumed(uint64_t total) override { consumed_ = std::min(total, read_); }
  void Finish() override {
    // Relative, because others may share the description and have moved it too.
    if (read_ > consumed_)
      ::lseek(fd_.get(), -static_cast<off_t>(std::exchange(read_, consumed_) - consumed_),
              SEEK_CUR);
  }

 private:
  BorrowedFd fd_;
  uint64_t read_ = 0, consumed_ = 0;
};

class PipeSource : public StdinSource {
 public:
  PipeSource(BorrowedFd fd, UniqueFd epoll, sys::Pipe copy, UniqueFd sink)
      : fd_(fd), epoll_(std::move(epoll)), copy_(std::move(copy)), sink_(std::move(sink)) {}

  // tee() always starts at the pipe's front, so the bytes that were passed on but not consumed are
  // copied again and dropped: the copy is of page references, at most a pipe's worth.
  Result<Piece> Read(std::span<std::byte> buffer) override {
    // Before the copy: when no writer was left, the copy has everything there will ever be.
    struct pollfd poller {
      fd_.get(), POLLIN, 0
    };
    ::poll(&poller, 1, 0);
    bool no_writer = (poller.revents & POLLHUP) != 0;
    ssize_t copied =
        TEMP_FAILURE_RETRY(::tee(fd_.get(), copy_.write.get(), kPiece, SPLICE_F_NONBLOCK));
    if (copied == -1 && errno != EAGAIN) return Error::Errno("tee stdin");
    size_t there = copied > 0 ? static_cast<size_t>(copied) : 0;
    uint64_t in_flight = passed_ - dropped_;
    if (there <= in_flight) {
      Drop(copy_.read, there);
      return Piece{0, no_writer};
    }
    Drop(copy_.read, in_flight);
    size_t fresh = there - in_flight;
    size_t count = TRY(sys::ReadSome(copy_.read, buffer.first(std::min(buffer.size(), fresh))));
    Drop(copy_.read, fresh - count);
    passed_ += count;
    return Piece{count, false};
  }

  std::optional<BorrowedFd> wait_fd() const override { return BorrowedFd(epoll_); }

  void OnReadable() override {
    struct epoll_event event;
    ::epoll_wait(epoll_.get(), &event, 1, 0);
  }

  void Consumed(uint64_t total) override {
    total = std::min(total, passed_);
    if (total > dropped_) dropped_ += Drop(fd_, total - dropped_);
  }

 private:
  // Takes `count` bytes off a pipe without reading them into memory.
  uint64_t Drop(BorrowedFd pipe, uint64_t count) {
    uint64_t left = count;
    while (left > 0) {
      ssize_t moved =
          TEMP_FAILURE_RETRY(::splice(pipe.get(), nullptr, sink_.get(), nullptr,
                                      std::min<uint64_t>(left, kPiece), SPLICE_F_NONBLOCK));
      if (moved <= 0) break;  // Another reader of the same pipe was quicker.
      left -= static_cast<uint64_t>(moved);
    }
    return count - left;
  }

  BorrowedFd fd_;
  UniqueFd epoll_;  // Edge-triggered on fd_: bytes that were seen and stay must not wake us again.
  sys::Pipe copy_;
  UniqueFd sink_;  // /dev/null.
  uint64_t passed_ = 0, dropped_ = 0;
};

class PlainSource : public StdinSource {
 public:
  PlainSource(BorrowedFd fd, bool waits) : fd_(fd), waits_(waits) {}

  Result<Piece> Read(std::span<std::byte> buffer) override {
    if (waits_) {
      struct pollfd poller {
        fd_.get(), POLLIN, 0
      };
      if (::poll(&poller, 1, 0) == 0) return Piece{};
    }
    auto count = sys::ReadSome(fd_, buffer);
    if (count) return Piece{*count, *count == 0};
    // Someone else's O_NONBLOCK on our description; or a terminal that has hung up.
    if (count.error().sys_errno() == EAGAIN) return Piece{};
    if (count.error().sys_errno() == EIO) return Piece{0, true};
    return std::move(count).error();
  }
  std::optional<BorrowedFd> wait_fd() const override {
    return waits_ ? std::optional(fd_) : std::nullopt;
  }

 private:
  BorrowedFd fd_;
  bool waits_;
};

Result<std::unique_ptr<StdinSource>> CreatePipeSource(BorrowedFd fd) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error::Errno("epoll_create1");
  struct epoll_event event {};
  event.events = EPOLLIN | EPOLLET;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) == -1)
    return Error::Errno("epoll_ctl stdin");
  auto copy = TRY(sys::MakePipe());
  // As large as the original, else the copy could miss its end.
  int size = ::fcntl(fd.get(), F_GETPIPE_SZ);
  if (size > 0 && ::fcntl(copy.write.get(), F_SETPIPE_SZ, size) == -1)
    return Error::Errno("fcntl F_SETPIPE_SZ");
  auto sink = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_WRONLY));
  return std::unique_ptr<StdinSource>(
      std::make_unique<PipeSource>(fd, std::move(epoll), std::move(copy), std::move(sink)));
}

// /dev/null and /dev/zero are always ready and unknown to epoll.
bool EpollTakes(BorrowedFd fd) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  struct epoll_event event {};
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) == 0;
}

}  // namespace

Result<std::unique_ptr<StdinSource>> StdinSource::Create(BorrowedFd fd) {
  auto status = TRY(sys::Stat(fd));
  if (S_ISREG(status.st_mode)) return std::unique_ptr<StdinSource>(new FileSource(fd));
  if (S_ISFIFO(status.st_mode)) {
    auto pipe = CreatePipeSource(fd);
    if (pipe) return pipe;
  }
  return std::unique_ptr<StdinSource>(new PlainSource(fd, EpollTakes(fd)));
}

}  // namespace msb::cli
