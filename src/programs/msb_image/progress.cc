// SPDX-License-Identifier: Apache-2.0
// When a progress line is due, and how it looks.
#include "programs/msb_image/progress.h"

#include <unistd.h>

#include "base/text.h"
#include "base/units.h"
#include "sys/file.h"

namespace msb::image_program {
namespace {

constexpr auto kQuietTime = std::chrono::seconds(1);
constexpr auto kInterval = std::chrono::milliseconds(200);

void Write(const std::string& text) { (void)sys::WriteAll(BorrowedFd::Raw(STDERR_FILENO), text); }

}  // namespace

Progress::Progress(std::string what, bool quiet)
    : what_(std::move(what)),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_shown_(start_) {}

std::string Progress::Line(uint64_t bytes) const {
  return Cat(what_, ": ", FormatSize(bytes), ", ", FormatDuration(Clock::now() - start_));
}

void Progress::Update(uint64_t bytes) {
  auto now = Clock::now();
  if (quiet_ || !terminal_ || now - start_ < kQuietTime || now - last_shown_ < kInterval) return;
  last_shown_ = now;
  shown_ = true;
  Write(Cat("\r", Line(bytes), "\x1b[K"));
}

void Progress::Finish(uint64_t bytes) {
  if (shown_) Write("\r\x1b[K");
  if (!quiet_ && !terminal_ && Clock::now() - start_ >= kQuietTime) Write(Line(bytes) + "\n");
}

}  // namespace msb::image_program
