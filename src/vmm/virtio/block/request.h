// SPDX-License-Identifier: Apache-2.0
// What a chain asks of a disk: reading of untrusted requests, without I/O (virtio 1.2, 5.2.6).
//
//   readable: header {type, reserved, sector} [data to write | ranges]
//   writable: [data to read] status byte

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmm/virtio/queue.h"

namespace msb::vmm {

inline constexpr uint64_t kSectorBytes = 512;
inline constexpr size_t kBlockHeaderBytes = 16;
// A range of a discard can be this long, and a request has at most this many: so one request keeps
// the worker for a bounded time.
inline constexpr uint32_t kMaxDiscardSectors = 1U << 21;
inline constexpr uint32_t kMaxDiscardRanges = 32;
inline constexpr size_t kRangeBytes = 16;
inline constexpr size_t kDiskIdBytes = 20;

struct DiskShape {
  uint64_t sectors = 0;
  bool writable = false;
};

enum class BlockOperation : uint8_t { kRead, kWrite, kFlush, kGetId, kDiscard, kWriteZeroes };

// VIRTIO_BLK_S_*
enum class BlockStatus : uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

struct BlockRequest {
  BlockStatus refusal = BlockStatus::kOk;  // Else to be answered so, and nothing done.
  BlockOperation operation = BlockOperation::kRead;
  uint64_t offset = 0;      // Bytes into the disk; of reads and writes.
  uint32_t data_bytes = 0;  // Beside header and status: of what is read or written, or of ranges.
};

// nullopt when the chain has no room for header or status: the driver's mistake.
std::optional<BlockRequest> ParseBlockRequest(const Chain& chain, const DiskShape& disk);

// One range of a discard or write-zeroes request. Refused when it is not on the disk, is longer
// than we said, or has flags that we do not know.
struct BlockRange {
  BlockStatus refusal = BlockStatus::kOk;
  uint64_t offset = 0;  // Bytes.
  uint64_t bytes = 0;
};
BlockRange ParseBlockRange(std::span<const std::byte, kRangeBytes> bytes, BlockOperation operation,
                           const DiskShape& disk);

}  // namespace msb::vmm
