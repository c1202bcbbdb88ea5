// SPDX-License-Identifier: Apache-2.0
// BlockDevice: a raw disk (virtio 1.2, section 5.2).
//
// The whole queue is the worker's: the guest's kicks come to it by KickFd(), it takes a request,
// does it and answers, and the device thread is not on the way. One request at a time is in flight;
// its buffers are pieces of guest memory that live as long as the machine, and Reset() waits for
// it.
//
// A write that meets a full host (ENOSPC, EDQUOT) is no error for the guest: an ext4 on it would be
// damaged for good. The request goes back to the ring, the owner is told once, and it is tried
// again every 200 ms.
//
// A disk is read-only by the open mode of its descriptor. That no write is offered is a courtesy.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/virtio/block/disk.h"
#include "vmm/virtio/block/request.h"
#include "vmm/virtio/block/worker.h"
#include "vmm/virtio/device.h"

namespace msb::vmm {

enum class DiskAccess : uint8_t { kReadOnly, kWritable };
struct BlockOptions {
  DiskAccess access = DiskAccess::kReadOnly;
  DiskFlush flush = DiskFlush::kThrowAway;
  std::string id;  // At most 20 bytes count: /sys/block/vda/serial.
  // Worker thread: the host's storage is full; said once until a write succeeds again or the
  // guest resets the device.
  std::function<void()> storage_full;
};

struct BlockMetrics {
  std::atomic<uint64_t> reads = 0;
  std::atomic<uint64_t> writes = 0;
  std::atomic<uint64_t> flushes = 0;
  std::atomic<uint64_t> discards = 0;
  std::atomic<uint64_t> failed = 0;  // Answered with an error, whosever.
  std::atomic<uint64_t> held = 0;    // Retries for want of storage.
};

class BlockDevice final : public Device {
 public:
  // A writable disk is locked for as long as this lives (kUnavailable: another has it); a read-only
  // one must be open for reading only. `worker` must live longer.
  static Result<std::unique_ptr<BlockDevice>> Create(BlockWorker& worker, UniqueFd file,
                                                     BlockOptions options);
  ~BlockDevice() override;

  uint64_t sectors() const { return disk_.shape().sectors; }
  const BlockMetrics& metrics() const { return metrics_; }

  uint32_t device_id() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_limits() const override;
  void ReadConfig(uint32_t offset, std::span<std::byte> out) const override;
  Result<void> Activate(ActiveDevice active) override;
  void Notify(size_t queue) override;
  void Reset() override;
  std::optional<BorrowedFd> KickFd(size_t queue) const override;

 private:
  BlockDevice(BlockWorker& worker, Disk disk, UniqueFd kick, BlockOptions options);
  void Kick();
  // Worker thread.
  Result<void> Watch();
  void Serve();
  // Does one request; false when there is none, or none can be done now.
  bool ServeOne();
  DiskOutcome Perform(const BlockRequest& request, const Chain& chain);
  DiskOutcome GetId(const BlockRequest& request, const Chain& chain);
  DiskOutcome DoRanges(const BlockRequest& request, const Chain& chain);
  void Hold();

  BlockWorker& worker_;
  UniqueFd kick_;  // An eventfd.
  const BlockOptions options_;
  Disk disk_;
  BlockMetrics metrics_;
  // Set before Reset() asks the worker to stop, so that it does not first empty a long queue.
  std::atomic<bool> stopping_ = false;

  // Worker thread.
  event::Loop::Registration watch_;
  event::Loop::Timer retry_;
  ActiveDevice active_;
  bool held_ = false;  // Until retry_ fires.
  bool told_ = false;  // The owner knows that storage is full.
};

}  // namespace msb::vmm
