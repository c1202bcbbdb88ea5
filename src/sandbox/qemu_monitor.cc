// SPDX-License-Identifier: Apache-2.0
// QMP, as far as we need it.

#include "sandbox/qemu_monitor.h"

#include <cerrno>

#include "base/bytes.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {

bool IsNoSpaceEvent(std::string_view line) {
  auto has = [&](std::string_view text) { return line.find(text) != std::string_view::npos; };
  return has("\"event\": \"BLOCK_IO_ERROR\"") && has("\"nospace\": true");
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

Result<std::unique_ptr<QemuMonitor>> QemuMonitor::Create(event::Loop& loop, UniqueFd socket,
                                                         std::function<void()> on_no_space) {
  TRY(sys::SetNonBlocking(socket, true));
  // QMP sends no event before this; it takes it after its greeting, in order.
  TRY(sys::SendSome(socket, AsBytes("{\"execute\":\"qmp_capabilities\"}\n")));
  std::unique_ptr<QemuMonitor> monitor(new QemuMonitor(std::move(socket), std::move(on_no_space)));
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
  bool no_space = false;
  lines_.Feed(std::span(buffer).first(*count),
              [&](std::string_view line) { no_space = no_space || IsNoSpaceEvent(line); });
  if (no_space) on_no_space_();
}

}  // namespace msb::sandbox
