// SPDX-License-Identifier: Apache-2.0
// OutputSink: writes a program's output to our stdout or stderr without blocking the loop and
// without setting O_NONBLOCK on a description that the caller's shell shares.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"

namespace msb::cli {

class OutputSink {
 public:
  // `on_written` is told how many bytes have gone, `on_broken` once when no more can go.
  OutputSink(event::Loop& loop, int fd, std::function<void(size_t)> on_written,
             std::function<void(Error)> on_broken);

  // Writes what can be written now and keeps the rest, which the sender's credit bounds.
  void Write(std::span<const std::byte> bytes);
  bool drained() const { return sent_ == queue_.size(); }
  bool broken() const { return broken_; }

 private:
  enum class Way : uint8_t {
    kOwnDescription,  // Opened anew, non-blocking: pipes and terminals that are ours to open.
    kSocket,          // MSG_DONTWAIT.
    kPieces,          // Small writes after poll: pipes and terminals of another user.
    kDirect,          // Files: a write ends.
  };
  // Bytes taken; 0: full, wait.
  Result<size_t> WriteSome(std::span<const std::byte> bytes);
  void Flush();
  void WaitWritable();
  void Break(Error error);

  event::Loop& loop_;
  int fd_;
  Way way_ = Way::kDirect;
  bool terminal_ = false;
  UniqueFd own_;
  std::function<void(size_t)> on_written_;
  std::function<void(Error)> on_broken_;
  event::Loop::Registration watch_;
  bool waiting_ = false;
  bool broken_ = false;
  std::vector<std::byte> queue_;  // [sent_, end) is still to be written.
  size_t sent_ = 0;
};

}  // namespace msb::cli
