// SPDX-License-Identifier: Apache-2.0
// From kick to used buffer, on the worker.

#include "vmm/virtio/block/device.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/file.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

constexpr std::array<uint16_t, 1> kLimits = {256};
// Header and status are pieces of their own in every driver.
constexpr uint32_t kMaxSegments = kLimits[0] - 2;
// Requests of one disk before the worker looks at the other.
constexpr int kRound = 32;
constexpr auto kRetryEvery = std::chrono::milliseconds(200);

constexpr uint64_t Feature(unsigned bit) { return uint64_t{1} << bit; }

Result<DiskShape> ShapeOf(BorrowedFd file, DiskAccess access) {
  auto stat = TRY(sys::Stat(file));
  if (!S_ISREG(stat.st_mode)) return Error(Code::kInvalidArgument, "disk is not a regular file");
  int mode = TRY(sys::StatusFlags(file)) & O_ACCMODE;
  if (access == DiskAccess::kWritable && mode != O_RDWR)
    return Error(Code::kFailedPrecondition, "writable disk is not open for reading and writing");
  // Not by our word alone: what the kernel would let us write, a hole in this program could.
  if (access == DiskAccess::kReadOnly && mode != O_RDONLY)
    return Error(Code::kFailedPrecondition, "read-only disk is open for writing");
  return DiskShape{.sectors = static_cast<uint64_t>(stat.st_size) / kSectorBytes,
                   .writable = access == DiskAccess::kWritable};
}

DiskOutcome ToOutcome(BlockStatus status) {
  return status == BlockStatus::kOk        ? DiskOutcome::kOk
         : status == BlockStatus::kIoError ? DiskOutcome::kIoError
                                           : DiskOutcome::kUnsupported;
}

BlockStatus ToStatus(DiskOutcome outcome) {
  return outcome == DiskOutcome::kOk            ? BlockStatus::kOk
         : outcome == DiskOutcome::kUnsupported ? BlockStatus::kUnsupported
                                                : BlockStatus::kIoError;
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> BlockDevice::Create(BlockWorker& worker, UniqueFd file,
                                                         BlockOptions options) {
  auto shape = TRY(ShapeOf(file, options.access));
  if (shape.writable) {
    // The lock is the open file's: it lasts as long as the descriptor, whoever holds the object.
    auto lock = TRY(sys::FileLock::TryExclusive(std::move(file)).Context("lock of writable disk"));
    file = std::move(lock).Release();
  }
  Disk disk(std::move(file), shape, options.flush, kLimits[0]);
  std::unique_ptr<BlockDevice> device(
      new BlockDevice(worker, std::move(disk), TRY(sys::EventFd()), std::move(options)));
  Result<void> watched;
  worker.Call([&] { watched = device->Watch(); });
  TRY(std::move(watched));
  return device;
}

BlockDevice::BlockDevice(BlockWorker& worker, Disk disk, UniqueFd kick, BlockOptions options)
    : worker_(worker),
      kick_(std::move(kick)),
      options_(std::move(options)),
      disk_(std::move(disk)) {}

BlockDevice::~BlockDevice() {
  stopping_ = true;
  worker_.Call([this] {
    watch_.Cancel();
    retry_.Cancel();
  });
}

Result<void> BlockDevice::Watch() {
  // By edges, so that a kick costs no read().
  watch_ = TRY(worker_.loop().Watch(
      kick_, event::Interest::kRead, [this](event::Ready) { Serve(); }, event::Trigger::kEdge));
  return {};
}

uint32_t BlockDevice::device_id() const { return VIRTIO_ID_BLOCK; }

uint64_t BlockDevice::features() const {
  uint64_t features = Feature(VIRTIO_BLK_F_SEG_MAX) | kFeatureEventIndex;
  if (!disk_.shape().writable) return features | Feature(VIRTIO_BLK_F_RO);
  features |= Feature(VIRTIO_BLK_F_DISCARD) | Feature(VIRTIO_BLK_F_WRITE_ZEROES);
  // Without it the driver takes the disk for one without a cache, and never flushes.
  if (options_.flush == DiskFlush::kKeep) features |= Feature(VIRTIO_BLK_F_FLUSH);
  return features;
}

std::span<const uint16_t> BlockDevice::queue_limits() const { return kLimits; }

void BlockDevice::ReadConfig(uint32_t offset, std::span<std::byte> out) const {
  virtio_blk_config config{};
  config.capacity = disk_.shape().sectors;
  config.seg_max = kMaxSegments;
  config.blk_size = kSectorBytes;
  if (disk_.shape().writable) {
    config.max_discard_sectors = kMaxDiscardSectors;
    config.max_discard_seg = kMaxDiscardRanges;
    config.discard_sector_alignment = kPageBytes / kSectorBytes;
    config.max_write_zeroes_sectors = kMaxDiscardSectors;
    config.max_write_zeroes_seg = kMaxDiscardRanges;
    config.write_zeroes_may_unmap = 1;
  }
  CopyConfig(config, offset, out);
}

std::optional<BorrowedFd> BlockDevice::KickFd(size_t) const { return BorrowedFd(kick_); }

Result<void> BlockDevice::Activate(ActiveDevice active) {
  worker_.Call([&] { active_ = active; });
  return {};
}

void BlockDevice::Reset() {
  stopping_ = true;
  worker_.Call([this] {
    active_ = {};
    retry_.Cancel();
    held_ = false;
    told_ = false;
  });
  stopping_ = false;
}

void BlockDevice::Notify(size_t) { Kick(); }

void BlockDevice::Kick() {
  uint64_t one = 1;
  // EAGAIN: the counter is full, so the worker is awake already.
  (void)sys::WriteSome(kick_, std::as_bytes(std::span(&one, 1)));
}

void BlockDevice::Serve() {
  if (held_ || active_.queues.empty() || !active_.queues[0] || active_.signal->needs_reset())
    return;
  int count = 0;
  int round = kRound;
  while (!stopping_.load(std::memory_order_relaxed) && count < round && ServeOne()) {
    count++;
    // The other disk's reset waits for one request of this one, not for a queue of them.
    if (worker_.wanted()) round = count;
  }
  if (count == round) Kick();
}

bool BlockDevice::ServeOne() {
  Queue& queue = *active_.queues[0];
  auto chain = queue.Pop();
  auto request = chain ? ParseBlockRequest(*chain, disk_.shape()) : std::nullopt;
  if (!request) {
    if (chain || queue.broken()) active_.signal->NeedsReset();
    return false;
  }
  auto outcome = Perform(*request, *chain);
  if (outcome == DiskOutcome::kStorageFull) {
    queue.Undo(1);
    Hold();
    return false;
  }
  told_ = told_ && request->operation != BlockOperation::kWrite;
  auto status = static_cast<std::byte>(ToStatus(outcome));
  // The status is the last byte, whatever lies before it.
  CopyTo(chain->writable, chain->writable_bytes - 1, std::span(&status, 1));
  if (outcome != DiskOutcome::kOk) metrics_.failed.fetch_add(1, std::memory_order_relaxed);
  queue.Push(chain->head, chain->writable_bytes);
  if (queue.InterruptDue()) active_.signal->UsedBuffers();
  return true;
}

DiskOutcome BlockDevice::Perform(const BlockRequest& request, const Chain& chain) {
  auto count = [](std::atomic<uint64_t>& counter) {
    counter.fetch_add(1, std::memory_order_relaxed);
  };
  if (request.refusal != BlockStatus::kOk) return ToOutcome(request.refusal);
  switch (request.operation) {
    case BlockOperation::kRead:
      count(metrics_.reads);
      return disk_.Read(request, chain.writable, stopping_);
    case BlockOperation::kWrite:
      count(metrics_.writes);
      return disk_.Write(request, chain.readable, kBlockHeaderBytes, stopping_);
    case BlockOperation::kFlush:
      count(metrics_.flushes);
      return disk_.Flush();
    case BlockOperation::kGetId:
      return GetId(request, chain);
    case BlockOperation::kDiscard:
    case BlockOperation::kWriteZeroes:
      count(metrics_.discards);
      return DoRanges(request, chain);
  }
  return DiskOutcome::kUnsupported;
}

DiskOutcome BlockDevice::GetId(const BlockRequest& request, const Chain& chain) {
  std::array<std::byte, kDiskIdBytes> id{};
  auto text = AsBytes(options_.id);
  std::copy_n(text.begin(), std::min(text.size(), id.size()), id.begin());
  CopyTo(chain.writable, 0, std::span(id).first(std::min<size_t>(id.size(), request.data_bytes)));
  return DiskOutcome::kOk;
}

DiskOutcome BlockDevice::DoRanges(const BlockRequest& request, const Chain& chain) {
  // All are judged before the first is done; on a copy, so that they are the same when done.
  std::array<BlockRange, kMaxDiscardRanges> ranges;
  size_t count = request.data_bytes / kRangeBytes;
  for (size_t i = 0; i < count; i++) {
    std::array<std::byte, kRangeBytes> bytes;
    CopyFrom(chain.readable, kBlockHeaderBytes + i * kRangeBytes, bytes);
    ranges[i] = ParseBlockRange(bytes, request.operation, disk_.shape());
    if (ranges[i].refusal != BlockStatus::kOk) return ToOutcome(ranges[i].refusal);
  }
  for (const BlockRange& range : std::span(ranges).first(count)) {
    if (stopping_.load(std::memory_order_relaxed)) return DiskOutcome::kIoError;
    auto outcome = request.operation == BlockOperation::kDiscard ? disk_.Discard(range)
                                                                 : disk_.WriteZeroes(range);
    if (outcome != DiskOutcome::kOk) return outcome;
  }
  return DiskOutcome::kOk;
}

void BlockDevice::Hold() {
  metrics_.held.fetch_add(1, std::memory_order_relaxed);
  if (!std::exchange(told_, true) && options_.storage_full) options_.storage_full();
  held_ = true;
  retry_ = worker_.loop().After(kRetryEvery, [this] {
    held_ = false;
    Serve();
  });
}

}  // namespace msb::vmm
