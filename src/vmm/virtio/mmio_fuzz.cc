// SPDX-License-Identifier: Apache-2.0
// Any register accesses, over a device that takes every chain it is given: the transport never
// activates twice, never lets a frozen queue change, and the guest's memory is all that is touched.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "vmm/virtio/test_fuzz_guest.h"

namespace {

using msb::vmm::ActiveDevice;
using msb::vmm::Queue;

class TakingDevice final : public msb::vmm::Device {
 public:
  uint32_t device_id() const override { return 4; }
  uint64_t features() const override { return msb::vmm::kFeatureEventIndex | 3; }
  std::span<const uint16_t> queue_limits() const override { return kLimits; }
  void ReadConfig(uint32_t offset, std::span<std::byte> out) const override {
    CHECK(out.size() <= 8 && offset + out.size() <= 0x100);
  }
  void WriteConfig(uint32_t offset, std::span<const std::byte> in) override {
    CHECK(in.size() <= 8 && offset + in.size() <= 0x100);
  }
  msb::Result<void> Activate(ActiveDevice active) override {
    CHECK(active_.signal == nullptr);
    active_ = active;
    for (size_t i = 0; i < kLimits.size(); i++)
      if (active.queues[i]) configs_[i] = active.queues[i]->config();
    return {};
  }
  void Notify(size_t index) override {
    Queue& queue = *active_.queues[index];
    CHECK(queue.config() == configs_[index] && queue.size() <= kLimits[index]);
    for (int i = 0; i < 64; i++) {
      auto chain = queue.Pop();
      if (!chain) break;
      size_t bytes = 0;
      for (auto segment : chain->writable) bytes += segment.size();
      CHECK(bytes == chain->writable_bytes && chain->readable.size() <= queue.size());
      queue.Push(chain->head, static_cast<uint32_t>(msb::vmm::CopyTo(chain->writable, 0, kAnswer)));
    }
    if (queue.InterruptDue()) active_.signal->UsedBuffers();
    if (queue.broken()) active_.signal->NeedsReset();
  }
  void Reset() override {
    CHECK(active_.signal != nullptr);
    active_ = {};
  }

 private:
  static constexpr std::array<uint16_t, 3> kLimits = {16, 4, 256};
  static constexpr std::array<std::byte, 8> kAnswer{};
  ActiveDevice active_;
  std::array<msb::vmm::QueueConfig, 3> configs_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  TakingDevice device;
  msb::vmm::FuzzGuest guest(device, [] {});
  guest.Run(std::as_bytes(std::span(data, size)), [](msb::ByteReader&) {});
  return 0;
}
