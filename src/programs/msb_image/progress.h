// SPDX-License-Identifier: Apache-2.0
// Progress on stderr, for work that takes over a second: a line that is rewritten on a terminal,
// one line at the end otherwise.

#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.h"

namespace msb::image_program {

class Progress {
 public:
  // `what` begins the line: "import app:1".
  Progress(std::string what, bool quiet);

  void Update(uint64_t bytes);
  // Removes the line, or writes the one line of a run without terminal.
  void Finish(uint64_t bytes);

 private:
  std::string Line(uint64_t bytes) const;

  std::string what_;
  bool quiet_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point last_shown_;
};

}  // namespace msb::image_program
