// SPDX-License-Identifier: Apache-2.0
// Disk: the file behind a block device, and the system calls that do requests to it.

#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "vmm/virtio/block/request.h"
#include "vmm/virtio/queue.h"

namespace msb::vmm {

enum class DiskFlush : uint8_t {
  kThrowAway,  // Nobody will read it after this machine: flush is not even offered.
  kKeep,       // fdatasync().
};

enum class DiskOutcome : uint8_t {
  kOk,
  kIoError,
  kUnsupported,
  kStorageFull,  // ENOSPC or EDQUOT: nothing is lost, try again.
};

// No call to the host moves more than this, so that `stop` is looked at in between.
inline constexpr size_t kMostBytesACall = size_t{1} << 20;

// Worker thread, but shape(). What moves data ends early with kIoError once `stop` is set: a reset
// waits for one call to the host, not for all that a guest can name in one request.
class Disk {
 public:
  // `max_parts`: the most pieces that a request has.
  Disk(UniqueFd file, const DiskShape& shape, DiskFlush flush, size_t max_parts)
      : file_(std::move(file)), shape_(shape), flush_(flush), parts_(max_parts) {}

  const DiskShape& shape() const { return shape_; }

  // All of the request's data or an error; a request is never half done with kOk.
  DiskOutcome Read(const BlockRequest& request, std::span<const Segment> into,
                   const std::atomic<bool>& stop);
  DiskOutcome Write(const BlockRequest& request, std::span<const Segment> from, size_t skip,
                    const std::atomic<bool>& stop);
  DiskOutcome Flush();
  // Discarded sectors read as zeros and their storage goes back to the host.
  DiskOutcome Discard(const BlockRange& range);
  // Zeros with storage kept where the file system can do that, else by a hole.
  DiskOutcome WriteZeroes(const BlockRange& range);

 private:
  template <class Move>
  DiskOutcome MoveAll(const BlockRequest& request, std::span<const Segment> segments, size_t skip,
                      const std::atomic<bool>& stop, Move move);

  UniqueFd file_;
  const DiskShape shape_;
  const DiskFlush flush_;
  std::vector<iovec> parts_;
};

}  // namespace msb::vmm
