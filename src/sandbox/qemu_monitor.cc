// SPDX-License-Identifier: Apache-2.0
// QMP, as far as we need it.

#include "sandbox/qemu_monitor.h"

#include <cerrno>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {

std::optional<MonitorEvent> FindMonitorEvent(std::string_view line) {
  auto has = [&](std::string_view text) { return line.find(text) != std::string_view::npos; };
  if (has("\"event\": \"BLOCK_IO_ERROR\"") && has("\"nospace\": true"))
    return MonitorEvent::kHostStorageFull;
  if (has("\"event\": \"VSERPORT_CHANGE\"") && has(Cat("\"id\": \"", kAgentPortId, "\""))) {
    if (has("\"open\": true")) return MonitorEvent::kChannelOpened;
    if (has("\"open\": false")) return MonitorEvent::kChannelClosed;
  }
  return std::nullopt;
}

void LineCutter::Feed(std::span<const std::byte> bytes,
                      const std::function<void(std::string_view)>& line) {
  for (char byte : AsText(bytes)) {
    if (byte == '\n') {
      if (!skipping_) line(pending_);
      pending_.clear();
      skipping_ = false;
    } else if (pending_.size() >= limit_) {
      skipping_ = true;
    } else {
      pending_ += byte;
    }
  }
}

Result<std::unique_ptr<QemuMonitor>> QemuMonitor::Create(
    event::Loop& loop, UniqueFd socket, std::function<void(MonitorEvent)> on_event) {
  TRY(sys::SetNonBlocking(socket, true));
  // QMP sends no event before this; it takes it after its greeting, in order.
  TRY(sys::SendSome(socket, AsBytes("{\"execute\":\"qmp_capabilities\"}\n")));
  std::unique_ptr<QemuMonitor> monitor(new QemuMonitor(std::move(socket), std::move(on_event)));
  QemuMonitor* self = monitor.get();
  self->watch_ = TRY(
      loop.Watch(self->socket_, event::Interest::kRead, [self](event::Ready) { self->Read(); }));
  return monitor;
}

void QemuMonitor::Read() {
  std::byte buffer[4096];
  auto count = sys::ReadSome(socket_, buffer);
  if (!count && count.error().sys_errno() == EAGAIN) return;
  if (!count || *count == 0) {
    // Its end is told by the process's.
    watch_.Cancel();
    return;
  }
  std::vector<MonitorEvent> events;
  lines_.Feed(std::span(buffer).first(*count), [&](std::string_view line) {
    if (auto event = FindMonitorEvent(line)) events.push_back(*event);
  });
  // The last act of Read(): a handler may end us.
  auto report = on_event_;
  for (MonitorEvent event : events) report(event);
}

}  // namespace msb::sandbox
