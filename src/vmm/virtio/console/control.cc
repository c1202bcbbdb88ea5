// SPDX-License-Identifier: Apache-2.0
// Control messages: eight bytes, little-endian.

#include "vmm/virtio/console/control.h"

#include "base/bytes.h"

namespace msb::vmm {

std::optional<ControlMessage> ParseControl(std::span<const std::byte> bytes) {
  if (bytes.size() < kControlHeaderBytes) return std::nullopt;
  return ControlMessage{.port = LoadLittle<uint32_t>(bytes.data()),
                        .event = LoadLittle<uint16_t>(bytes.data() + 4),
                        .value = LoadLittle<uint16_t>(bytes.data() + 6)};
}

std::array<std::byte, kControlHeaderBytes> ControlBytes(const ControlMessage& message) {
  std::array<std::byte, kControlHeaderBytes> bytes;
  StoreLittle(bytes.data(), message.port);
  StoreLittle(bytes.data() + 4, message.event);
  StoreLittle(bytes.data() + 6, message.value);
  return bytes;
}

void ControlReplies::Want(size_t port, Kind kind) {
  due_[port] = static_cast<uint8_t>(due_[port] | Bit(kind));
}

bool ControlReplies::Cancel(size_t port, Kind kind) {
  bool was_due = (due_[port] & Bit(kind)) != 0;
  due_[port] = static_cast<uint8_t>(due_[port] & ~Bit(kind));
  return was_due;
}

std::optional<ControlReplies::Due> ControlReplies::Next() const {
  for (Kind kind : {Kind::kAdd, Kind::kConsole, Kind::kName, Kind::kClose, Kind::kOpen})
    for (size_t port = 0; port < kConsolePorts; port++)
      if ((due_[port] & Bit(kind)) != 0) return Due{port, kind};
  return std::nullopt;
}

}  // namespace msb::vmm
