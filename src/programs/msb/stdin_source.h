// SPDX-License-Identifier: Apache-2.0
// StdinSource: reads the caller's stdin for a program in a guest, and takes from it for good only
// what that program has read. So a shell loop around `msb exec` keeps its input:
//
//   a file    is read, and what was not consumed is sought back at the end;
//   a pipe    is copied with tee(), which takes nothing, and what was consumed is then dropped;
//   the rest  (terminals, devices, sockets) is read as it comes: there is no way back.
//
// O_NONBLOCK is never set: the description belongs to the caller's shell too.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace msb::cli {

class StdinSource {
 public:
  // `fd` stays open while this lives.
  static Result<std::unique_ptr<StdinSource>> Create(BorrowedFd fd);
  virtual ~StdinSource() = default;

  struct Piece {
    size_t bytes = 0;  // 0 and not `end`: nothing there; wait for wait_fd() to be readable.
    bool end = false;
  };
  // Never blocks on a pipe or a file; elsewhere call it when wait_fd() is readable.
  virtual Result<Piece> Read(std::span<std::byte> buffer) = 0;
  // nullopt: always readable (files, /dev/null).
  virtual std::optional<BorrowedFd> wait_fd() const = 0;
  // wait_fd() was reported readable.
  virtual void OnReadable() {}
  // The program has read `total` bytes since the start.
  virtual void Consumed(uint64_t total) { (void)total; }
  // The end: gives back what was not consumed, where that is possible.
  virtual void Finish() {}

 protected:
  StdinSource() = default;
};

}  // namespace msb::cli
