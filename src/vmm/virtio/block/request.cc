// SPDX-License-Identifier: Apache-2.0
// Types, sizes and bounds; every number on a copy.

#include "vmm/virtio/block/request.h"

#include <linux/virtio_blk.h>

#include <array>

#include "base/bytes.h"

namespace msb::vmm {
namespace {

static_assert(sizeof(virtio_blk_outhdr) == kBlockHeaderBytes);
static_assert(sizeof(virtio_blk_discard_write_zeroes) == kRangeBytes);

bool OnDisk(uint64_t sector, uint64_t count, const DiskShape& disk) {
  return sector <= disk.sectors && count <= disk.sectors - sector;
}

BlockRequest Refused(BlockStatus why) { return {.refusal = why}; }

BlockRequest Transfer(BlockOperation operation, uint64_t sector, uint32_t bytes,
                      const DiskShape& disk) {
  if (bytes == 0 || bytes % kSectorBytes != 0 || !OnDisk(sector, bytes / kSectorBytes, disk))
    return Refused(BlockStatus::kIoError);
  return {.operation = operation, .offset = sector * kSectorBytes, .data_bytes = bytes};
}

BlockRequest Ranges(BlockOperation operation, uint32_t bytes, const DiskShape& disk) {
  if (!disk.writable) return Refused(BlockStatus::kUnsupported);
  if (bytes == 0 || bytes % kRangeBytes != 0 || bytes / kRangeBytes > kMaxDiscardRanges)
    return Refused(BlockStatus::kIoError);
  return {.operation = operation, .data_bytes = bytes};
}

}  // namespace

std::optional<BlockRequest> ParseBlockRequest(const Chain& chain, const DiskShape& disk) {
  if (chain.readable_bytes < kBlockHeaderBytes || chain.writable_bytes < 1) return std::nullopt;
  std::array<std::byte, kBlockHeaderBytes> bytes;
  CopyFrom(chain.readable, 0, bytes);
  auto header = LoadLittle<virtio_blk_outhdr>(bytes.data());
  auto out = chain.readable_bytes - static_cast<uint32_t>(kBlockHeaderBytes);
  uint32_t in = chain.writable_bytes - 1;
  switch (header.type) {
    case VIRTIO_BLK_T_IN:
      return Transfer(BlockOperation::kRead, header.sector, in, disk);
    case VIRTIO_BLK_T_OUT:
      // 5.2.6.2: a write to a read-only disk fails with an I/O error.
      if (!disk.writable) return Refused(BlockStatus::kIoError);
      return Transfer(BlockOperation::kWrite, header.sector, out, disk);
    case VIRTIO_BLK_T_FLUSH:
      return BlockRequest{.operation = BlockOperation::kFlush};
    case VIRTIO_BLK_T_GET_ID:
      return BlockRequest{.operation = BlockOperation::kGetId, .data_bytes = in};
    case VIRTIO_BLK_T_DISCARD:
      return Ranges(BlockOperation::kDiscard, out, disk);
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return Ranges(BlockOperation::kWriteZeroes, out, disk);
    default:
      return Refused(BlockStatus::kUnsupported);
  }
}

BlockRange ParseBlockRange(std::span<const std::byte, kRangeBytes> bytes, BlockOperation operation,
                           const DiskShape& disk) {
  auto range = LoadLittle<virtio_blk_discard_write_zeroes>(bytes.data());
  // Unmap says that zeroes may be made by a hole; a discard has no flags (5.2.6.2).
  uint32_t known =
      operation == BlockOperation::kWriteZeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
  if ((range.flags & ~known) != 0) return {.refusal = BlockStatus::kUnsupported};
  if (range.num_sectors > kMaxDiscardSectors || !OnDisk(range.sector, range.num_sectors, disk))
    return {.refusal = BlockStatus::kIoError};
  return {.offset = range.sector * kSectorBytes, .bytes = range.num_sectors * kSectorBytes};
}

}  // namespace msb::vmm
