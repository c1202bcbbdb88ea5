// SPDX-License-Identifier: Apache-2.0
// QEMU's monitor (QMP), of which we want one thing: the event that the host's disk is full.

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"

namespace msb::sandbox {

// Is this line of QMP the event of a write that found no space? Pure; lines are untrusted. A search
// for three words instead of a parser: QEMU escapes quotes in values, so the words with their
// quotes are keys and names of QMP itself.
bool IsNoSpaceEvent(std::string_view line);

// Cuts bytes into lines of bounded length; the rest of a longer one is skipped.
class LineCutter {
 public:
  explicit LineCutter(size_t limit) : limit_(limit) {}
  void Feed(std::span<const std::byte> bytes, const std::function<void(std::string_view)>& line);

 private:
  size_t limit_;
  std::string pending_;
  bool skipping_ = false;
};

class QemuMonitor {
 public:
  static Result<std::unique_ptr<QemuMonitor>> Create(event::Loop& loop, UniqueFd socket,
                                                     std::function<void()> on_no_space);

 private:
  QemuMonitor(UniqueFd socket, std::function<void()> on_no_space)
      : socket_(std::move(socket)), on_no_space_(std::move(on_no_space)) {}
  void Read();

  UniqueFd socket_;
  std::function<void()> on_no_space_;
  LineCutter lines_{16 * 1024};
  event::Loop::Registration watch_;
};

}  // namespace msb::sandbox
