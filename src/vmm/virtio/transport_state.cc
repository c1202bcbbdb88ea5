// SPDX-License-Identifier: Apache-2.0
// The saved form: fixed-width numbers in the order of the struct, little-endian.

#include "vmm/virtio/transport_state.h"

#include <linux/virtio_config.h>

#include "base/bytes.h"
#include "base/text.h"
#include "vmm/virtio/device.h"

namespace msb::vmm {
namespace {

constexpr uint32_t kFormat = 1;
constexpr uint32_t kStatusBits = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK |
                                 VIRTIO_CONFIG_S_FAILED;

Result<bool> ReadBool(ByteReader& in) {
  auto value = TRY(in.Number<uint8_t>());
  if (value > 1) return Error(Code::kDataLoss, "saved flag is neither 0 nor 1");
  return value == 1;
}

void WriteQueue(ByteWriter& out, const SavedQueue& queue) {
  out.Number(queue.config.size);
  out.Number(queue.config.descriptors.value);
  out.Number(queue.config.available.value);
  out.Number(queue.config.used.value);
  out.Number(static_cast<uint8_t>(queue.ready));
  out.Number(queue.progress.next_available);
  out.Number(queue.progress.next_used);
  out.Number(queue.progress.signalled_used);
  out.Number(static_cast<uint8_t>(queue.progress.broken));
}

Result<SavedQueue> ReadQueue(ByteReader& in) {
  SavedQueue queue;
  queue.config.size = TRY(in.Number<uint16_t>());
  if (queue.config.size > kMaxQueueSize)
    return Error(Code::kDataLoss, Cat("saved queue of ", queue.config.size, " entries"));
  queue.config.descriptors.value = TRY(in.Number<uint64_t>());
  queue.config.available.value = TRY(in.Number<uint64_t>());
  queue.config.used.value = TRY(in.Number<uint64_t>());
  queue.ready = TRY(ReadBool(in));
  queue.progress.next_available = TRY(in.Number<uint16_t>());
  queue.progress.next_used = TRY(in.Number<uint16_t>());
  queue.progress.signalled_used = TRY(in.Number<uint16_t>());
  queue.progress.broken = TRY(ReadBool(in));
  return queue;
}

}  // namespace

std::vector<std::byte> SerializeTransport(const TransportState& state) {
  ByteWriter out;
  out.Number(kFormat);
  out.Number(state.device_id);
  out.Number(state.status);
  out.Number(state.driver_features);
  out.Number(state.device_features_select);
  out.Number(state.driver_features_select);
  out.Number(state.queue_select);
  out.Number(state.interrupt_status);
  out.Number(state.generation);
  out.Number(static_cast<uint8_t>(state.needs_reset));
  out.Number(static_cast<uint32_t>(state.queues.size()));
  for (const SavedQueue& queue : state.queues) WriteQueue(out, queue);
  out.Number(static_cast<uint32_t>(state.device.size()));
  out.Bytes(state.device);
  return std::move(out).Take();
}

Result<TransportState> ParseTransport(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  if (auto format = TRY(in.Number<uint32_t>()); format != kFormat)
    return Error(Code::kDataLoss, Cat("saved device of format ", format, ", not ", kFormat));
  TransportState state;
  state.device_id = TRY(in.Number<uint32_t>());
  state.status = TRY(in.Number<uint32_t>());
  if ((state.status & ~kStatusBits) != 0)
    return Error(Code::kDataLoss, Cat("saved device status ", state.status));
  state.driver_features = TRY(in.Number<uint64_t>());
  state.device_features_select = TRY(in.Number<uint32_t>());
  state.driver_features_select = TRY(in.Number<uint32_t>());
  state.queue_select = TRY(in.Number<uint32_t>());
  state.interrupt_status = TRY(in.Number<uint32_t>());
  if (state.interrupt_status > 3)
    return Error(Code::kDataLoss, Cat("saved interrupt status ", state.interrupt_status));
  state.generation = TRY(in.Number<uint32_t>());
  state.needs_reset = TRY(ReadBool(in));
  auto count = TRY(in.Number<uint32_t>());
  if (count > kMaxSavedQueues)
    return Error(Code::kDataLoss, Cat("saved device with ", count, " queues"));
  for (uint32_t i = 0; i < count; i++) state.queues.push_back(TRY(ReadQueue(in)));
  auto size = TRY(in.Number<uint32_t>());
  if (size > kMaxDeviceState)
    return Error(Code::kDataLoss, Cat("saved device with ", size, " bytes of its own"));
  auto device = TRY(in.Bytes(size));
  state.device.assign(device.begin(), device.end());
  TRY(in.End());
  return state;
}

}  // namespace msb::vmm
