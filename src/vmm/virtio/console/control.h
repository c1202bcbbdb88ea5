// SPDX-License-Identifier: Apache-2.0
// The control messages of a multiport console (virtio 1.2, 5.3.6.2), and which are due.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace msb::vmm {

inline constexpr size_t kConsolePorts = 2;
inline constexpr size_t kControlHeaderBytes = 8;

struct ControlMessage {
  uint32_t port = 0;
  uint16_t event = 0;  // VIRTIO_CONSOLE_*
  uint16_t value = 0;
};

// Untrusted: nullopt when too short. More bytes than the header are ignored.
std::optional<ControlMessage> ParseControl(std::span<const std::byte> bytes);

std::array<std::byte, kControlHeaderBytes> ControlBytes(const ControlMessage& message);

// What the driver is still to be told. A set, not a queue: however often the driver asks, there is
// at most one of each, so it cannot make us hold more.
class ControlReplies {
 public:
  // In the order of their sending. A hang-up and a new connection are two messages even when the
  // driver was slow to make room for the first.
  enum class Kind : uint8_t { kAdd, kConsole, kName, kClose, kOpen };
  struct Due {
    size_t port;
    Kind kind;
  };

  void Clear() { due_ = {}; }
  void Want(size_t port, Kind kind);
  // True when it was due, and now is not.
  bool Cancel(size_t port, Kind kind);
  // The next to send; nullopt when nothing is due.
  std::optional<Due> Next() const;
  // For saved states; bits that mean nothing are left out.
  uint8_t bits(size_t port) const { return due_[port]; }
  void SetBits(size_t port, uint8_t bits) { due_[port] = bits & kKinds; }

 private:
  static constexpr uint8_t kKinds = 0x1f;
  static unsigned Bit(Kind kind) { return 1U << static_cast<unsigned>(kind); }
  std::array<uint8_t, kConsolePorts> due_{};  // A bit a Kind.
};

}  // namespace msb::vmm
