// SPDX-License-Identifier: Apache-2.0
// RawTerminal: the caller's terminal in raw mode while a program in a sandbox owns it.

#pragma once

#include <sys/ioctl.h>
#include <termios.h>

#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

// Rows and columns of the terminal that `fd` is, which may be 0; nullopt when it is none.
std::optional<winsize> GetWindowSize(int fd);

// Restores the terminal when destroyed. kill -9 cannot be helped: `reset` or `stty sane` does.
class [[nodiscard]] RawTerminal {
 public:
  static Result<RawTerminal> Enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), saved_(other.saved_), raw_(other.raw_) {}
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal() { Leave(); }

  // For a stop of our own process: as it was, and raw again afterwards.
  void Leave();
  void Reenter();

 private:
  RawTerminal(int fd, const termios& saved, const termios& raw)
      : fd_(fd), saved_(saved), raw_(raw) {}
  int fd_;
  termios saved_;
  termios raw_;
};

}  // namespace msb::sys
