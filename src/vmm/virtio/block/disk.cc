// SPDX-License-Identifier: Apache-2.0
// preadv(), pwritev() and fallocate(), with short counts carried on.

#include "vmm/virtio/block/disk.h"

#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>

#include "sys/file.h"

namespace msb::vmm {
namespace {

DiskOutcome OutcomeOf(const Error& error) {
  switch (error.sys_errno()) {
    case ENOSPC:
    case EDQUOT:
      return DiskOutcome::kStorageFull;
    case EOPNOTSUPP:
      return DiskOutcome::kUnsupported;
    default:
      return DiskOutcome::kIoError;
  }
}

// Takes `count` bytes off the front.
std::span<iovec> Advance(std::span<iovec> parts, size_t count) {
  while (!parts.empty() && count >= parts.front().iov_len) {
    count -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + count;
    parts.front().iov_len -= count;
  }
  return parts;
}

// Moves at most kMostBytesACall from the front.
template <class Move>
Result<size_t> MoveSome(std::span<iovec> parts, off_t offset, Move move) {
  size_t count = 0;
  size_t bytes = 0;
  while (count < parts.size() && bytes < kMostBytesACall) bytes += parts[count++].iov_len;
  size_t over = bytes > kMostBytesACall ? bytes - kMostBytesACall : 0;
  parts[count - 1].iov_len -= over;
  Result<size_t> moved = move(parts.first(count), offset);
  parts[count - 1].iov_len += over;
  return moved;
}

}  // namespace

template <class Move>
DiskOutcome Disk::MoveAll(const BlockRequest& request, std::span<const Segment> segments,
                          size_t skip, const std::atomic<bool>& stop, Move move) {
  auto parts = std::span(parts_);
  parts = parts.first(ToParts(segments, skip, request.data_bytes, parts));
  uint64_t done = 0;
  while (!parts.empty() && !stop.load(std::memory_order_relaxed)) {
    Result<size_t> moved = MoveSome(parts, static_cast<off_t>(request.offset + done), move);
    if (!moved.ok()) return OutcomeOf(moved.error());
    if (*moved == 0) break;  // The file is shorter than it was.
    done += *moved;
    parts = Advance(parts, *moved);
  }
  return done == request.data_bytes ? DiskOutcome::kOk : DiskOutcome::kIoError;
}

DiskOutcome Disk::Read(const BlockRequest& request, std::span<const Segment> into,
                       const std::atomic<bool>& stop) {
  return MoveAll(request, into, 0, stop, [&](std::span<const iovec> parts, off_t offset) {
    return sys::ReadPartsAt(file_, parts, offset);
  });
}

DiskOutcome Disk::Write(const BlockRequest& request, std::span<const Segment> from, size_t skip,
                        const std::atomic<bool>& stop) {
  return MoveAll(request, from, skip, stop, [&](std::span<const iovec> parts, off_t offset) {
    return sys::WritePartsAt(file_, parts, offset);
  });
}

DiskOutcome Disk::Flush() {
  if (flush_ == DiskFlush::kThrowAway || !shape_.writable) return DiskOutcome::kOk;
  auto synced = sys::DataSync(file_);
  return synced.ok() ? DiskOutcome::kOk : OutcomeOf(synced.error());
}

DiskOutcome Disk::Discard(const BlockRange& range) {
  if (range.bytes == 0) return DiskOutcome::kOk;
  auto punched = sys::Allocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               static_cast<off_t>(range.offset), static_cast<off_t>(range.bytes));
  return punched.ok() ? DiskOutcome::kOk : OutcomeOf(punched.error());
}

DiskOutcome Disk::WriteZeroes(const BlockRange& range) {
  if (range.bytes == 0) return DiskOutcome::kOk;
  auto zeroed = sys::Allocate(file_, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(range.offset), static_cast<off_t>(range.bytes));
  if (zeroed.ok()) return DiskOutcome::kOk;
  auto outcome = OutcomeOf(zeroed.error());
  // tmpfs, for one, has holes but no zeroed ranges.
  return outcome == DiskOutcome::kUnsupported ? Discard(range) : outcome;
}

}  // namespace msb::vmm
