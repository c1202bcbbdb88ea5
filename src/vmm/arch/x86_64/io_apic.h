// SPDX-License-Identifier: Apache-2.0
// The I/O APIC: turns a device's line into the message that a local APIC takes. Intel 82093AA data
// sheet.
//
// Two registers in memory, an index and a window on what it selects; behind them an id, a version
// and one 64-bit redirection entry a pin:
//
//     63    56                 16   15    14     13       11       10..8     7..0
//     [target ]      ...     masked level remote polarity logical  delivery  vector
//
// Lines are edge-triggered here whatever an entry says: no device keeps one raised. An edge at a
// masked pin is kept until it is unmasked, where the real one would lose it: the device would not
// raise it again before the guest has answered.
//
// Guest's side: vCPU threads, under a lock that they share with nobody. Raise(): any thread,
// without a lock.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

namespace msb::vmm {

class IoApic {
 public:
  static constexpr uint32_t kMaxPins = 24;
  // Address and data of a message to a local APIC.
  using Send = std::function<void(uint32_t address, uint32_t data)>;

  // What a snapshot keeps.
  struct State {
    uint32_t index = 0;
    uint32_t id = 0;
    std::array<uint64_t, kMaxPins> entries{};
    uint32_t pending = 0;  // A bit a pin.
  };

  IoApic(uint8_t id, uint32_t pins, Send send);

  void Raise(uint32_t pin);

  // Registers of 32 bits; other widths and offsets read as zero and write nothing.
  void Read(uint64_t offset, std::span<std::byte> out);
  void Write(uint64_t offset, std::span<const std::byte> in);

  State Save();
  void Restore(const State& state);

 private:
  uint32_t ReadRegister(uint32_t index) const;
  void WriteRegister(uint32_t index, uint32_t value);
  void Deliver(uint32_t pin);

  const uint32_t pins_;
  const Send send_;
  std::mutex mutex_;
  uint32_t index_ = 0;
  uint32_t id_;
  std::array<std::atomic<uint64_t>, kMaxPins> entries_;
  std::atomic<uint32_t> pending_{0};
};

}  // namespace msb::vmm
