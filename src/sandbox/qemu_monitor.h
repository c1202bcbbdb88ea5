// SPDX-License-Identifier: Apache-2.0
// QEMU's monitor (QMP), of which we want two things: that the host's disk is full, and that the
// guest has closed its end of the agent channel, which a socket does not tell.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"

namespace msb::sandbox {

// The device id of the agent's port.
inline constexpr std::string_view kAgentPortId = "agentport";

enum class MonitorEvent : uint8_t { kHostStorageFull, kChannelClosed, kChannelOpened };

// The event in a line of QMP, if it is one of ours. Pure; lines are untrusted. A search for words
// instead of a parser: QEMU escapes quotes in values, so the words with their quotes are keys and
// names of QMP itself.
std::optional<MonitorEvent> FindMonitorEvent(std::string_view line);

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
                                                     std::function<void(MonitorEvent)> on_event);

 private:
  QemuMonitor(UniqueFd socket, std::function<void(MonitorEvent)> on_event)
      : socket_(std::move(socket)), on_event_(std::move(on_event)) {}
  void Read();

  UniqueFd socket_;
  std::function<void(MonitorEvent)> on_event_;
  LineCutter lines_{16 * 1024};
  event::Loop::Registration watch_;
};

}  // namespace msb::sandbox
