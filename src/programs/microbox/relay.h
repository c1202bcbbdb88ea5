// SPDX-License-Identifier: Apache-2.0
// What goes between the command and us where it does not have our own descriptors: output that is
// counted (--output-limit), and the two directions of a terminal of its own.

#pragma once

#include <poll.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "jail/box/spec.h"
#include "sys/terminal.h"

namespace msb::microbox {

class Relay {
 public:
  // Puts pipes in the place of the command's stdout and stderr when there is a limit.
  static Result<Relay> Make(std::optional<uint64_t> limit, box::Spec& spec);

  // After the start: gives up our copies of the command's ends, and takes our side of its terminal,
  // if it has one. Ours is in raw mode from here on.
  Result<void> Begin(UniqueFd terminal);
  // The command's terminal has the size of ours again.
  void Resize() const;
  // Our terminal as it was.
  void End() { raw_.reset(); }

  static constexpr size_t kWaits = 3;
  // What to wait for; entries that wait for nothing have fd -1.
  void Prepare(std::span<pollfd, kWaits> waits) const;
  // Moves what can be moved without waiting. True when more was written than may be, once.
  bool Move(std::span<const pollfd, kWaits> waits);
  // Whether output is still under way.
  bool Busy() const;

 private:
  struct Stream {
    int target = -1;
    int source = -1;                   // -1: at its end.
    std::array<std::byte, 4096> held;  // PIPE_BUF: such a write does not block after POLLOUT.
    size_t size = 0;
  };
  bool Step(Stream& stream, bool counted);
  // Our stdout (0) or stderr (1) is the target of that stream.
  void WriteTo(size_t i);

  std::array<Stream, kWaits> streams_;  // stdout, stderr; stdin, for a terminal only.
  std::array<UniqueFd, 2> ours_, theirs_, targets_;
  UniqueFd terminal_;
  std::optional<sys::RawTerminal> raw_;
  uint64_t left_ = UINT64_MAX;
  bool over_ = false;
};

}  // namespace msb::microbox
