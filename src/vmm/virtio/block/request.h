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
// A range of a discard can be this long, and a request has at most this many: so one request keeps
// the worker for a bounded time.
inline constexpr uint32_t kMaxDiscardSectors = 1U << 21;
inline constexpr uint32_t kMaxDiscardRanges = 32;
inline constexpr size_t kDiskIdBytes = 20;

struct DiskShape {
  uint64_t sectors = 0;
  bool writable = false;
};

enum class BlockOperation : uint8_t { kRead, kWrite, kFlush, kGetId, kDiscard, kWriteZeroes };

// VIRTIO_BLK_S_*
enum class BlockStatus : uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

struct BlockRequest {
  BlockOperation operation = BlockOperation::kRead;
  uint64_t offset = 0;      // Bytes into the disk; of reads and writes.
  uint32_t data_bytes = 0;  // Of the data beside header and status.
};

struct ParsedRequest {
  // None: answer with `refusal`.
  std::optional<BlockRequest> request;
  BlockStatus refusal = BlockStatus::kOk;
};

// nullopt when the chain has no room for header or status: the driver's mistake.
std::optional<ParsedRequest> ParseBlockRequest(const Chain& chain, const DiskShape& disk);

struct DiskRange {
  uint64_t offset = 0;  // Bytes.
  uint64_t bytes = 0;
};
inline constexpr size_t kRangeBytes = 16;
// One range of a discard or write-zeroes request; nullopt when it is not on the disk, is longer
// than we said, or has flags that we do not know.
std::optional<DiskRange> ParseRange(std::span<const std::byte, kRangeBytes> bytes,
                                    BlockOperation operation, const DiskShape& disk);

}  // namespace msb::vmm
