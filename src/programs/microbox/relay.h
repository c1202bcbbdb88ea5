// SPDX-License-Identifier: Apache-2.0
// What the command writes, counted on its way: --output-limit. Without a limit the command writes
// to our own descriptors, and there is nothing to relay.

#pragma once

#include <poll.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "jail/box/spec.h"

namespace msb::microbox {

class Relay {
 public:
  // Puts pipes in the place of the command's stdout and stderr when there is a limit.
  static Result<Relay> Make(std::optional<uint64_t> limit, box::Spec& spec);

  // After the start: our copies of the command's ends.
  void CloseTheirs();
  // What to wait for, into `waits` (room for two); entries that wait for nothing have fd -1.
  void Prepare(std::span<pollfd, 2> waits) const;
  // Moves what can be moved without waiting. True when more was written than may be, once.
  bool Move(std::span<const pollfd, 2> waits);
  // Whether something is still under way.
  bool Busy() const;

 private:
  struct Stream {
    int target = -1;  // Ours, 1 or 2.
    UniqueFd source, theirs;
    std::array<std::byte, 4096> held;  // PIPE_BUF: such a write does not block after POLLOUT.
    size_t size = 0;
  };

  std::array<Stream, 2> streams_;
  uint64_t left_ = 0;
  bool over_ = false;
};

}  // namespace msb::microbox
