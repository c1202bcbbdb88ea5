// SPDX-License-Identifier: Apache-2.0
// Page numbers and free ranges into GuestMemory::Discard().

#include "vmm/virtio/balloon/device.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

enum QueueIndex : size_t { kInflate, kDeflate, kReport };
// Linux sends 256 page numbers at a time and reports 32 blocks of 2 or 4 MiB at a time.
constexpr std::array<uint16_t, 3> kLimits = {16, 16, 32};
// More page numbers than Linux's in one buffer are a mistake: each may cost a system call, and the
// agent channel waits for a round of them.
constexpr uint32_t kMaxPages = 256;
constexpr int kRound = 2;

static_assert(kBalloonPageBytes == kPageBytes);

// Collects pages that lie next to each other, so that a run of them is one system call.
class PageRun {
 public:
  explicit PageRun(const GuestMemory& memory) : memory_(memory) {}

  bool Add(uint32_t page) {
    // Upwards or downwards: Linux's allocator gives either.
    if (count_ != 0 && page == first_ + count_) {
      count_++;
      return true;
    }
    if (count_ != 0 && first_ != 0 && page == first_ - 1) {
      first_--;
      count_++;
      return true;
    }
    bool good = Flush();
    first_ = page;
    count_ = 1;
    return good;
  }

  bool Flush() {
    if (count_ == 0) return true;
    uint64_t count = std::exchange(count_, 0);
    return memory_.Discard(GuestAddress{first_ * kPageBytes}, count * kPageBytes).ok();
  }

 private:
  const GuestMemory& memory_;
  uint64_t first_ = 0;
  uint64_t count_ = 0;
};

}  // namespace

uint32_t BalloonDevice::device_id() const { return VIRTIO_ID_BALLOON; }

uint64_t BalloonDevice::features() const {
  // DEFLATE_ON_OOM: a guest short of memory takes its pages back before it kills a process.
  return uint64_t{1} << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
         uint64_t{1} << VIRTIO_BALLOON_F_REPORTING | kFeatureEventIndex;
}

std::span<const uint16_t> BalloonDevice::queue_limits() const { return kLimits; }

void BalloonDevice::ReadConfig(uint32_t offset, std::span<std::byte> out) const {
  virtio_balloon_config config{};
  config.num_pages = target_.load(std::memory_order_relaxed);
  config.actual = actual_.load(std::memory_order_relaxed);
  CopyConfig(config, offset, out);
}

void BalloonDevice::WriteConfig(uint32_t offset, std::span<const std::byte> in) {
  // What the guest says of itself, believed by nobody but whoever shows it.
  if (offset != offsetof(virtio_balloon_config, actual) || in.size() != sizeof(uint32_t)) return;
  actual_.store(LoadLittle<uint32_t>(in.data()), std::memory_order_relaxed);
}

void BalloonDevice::SetTarget(uint32_t pages) {
  target_.store(pages, std::memory_order_relaxed);
  if (active_.signal != nullptr) active_.signal->ConfigChanged();
}

Result<void> BalloonDevice::Activate(ActiveDevice active) {
  active_ = active;
  return {};
}

void BalloonDevice::Reset() {
  more_.Cancel();
  more_queues_ = 0;
  // A driver that starts anew has given up nothing (5.5.5).
  actual_.store(0, std::memory_order_relaxed);
  active_ = {};
}

std::vector<std::byte> BalloonDevice::SaveState() const {
  ByteWriter out;
  out.Number(target_.load(std::memory_order_relaxed));
  out.Number(actual_.load(std::memory_order_relaxed));
  return std::move(out).Take();
}

Result<void> BalloonDevice::RestoreState(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  auto target = TRY(in.Number<uint32_t>());
  auto actual = TRY(in.Number<uint32_t>());
  TRY(in.End());
  target_.store(target, std::memory_order_relaxed);
  actual_.store(actual, std::memory_order_relaxed);
  return {};
}

void BalloonDevice::Notify(size_t index) {
  Queue& queue = *active_.queues[index];
  int count = 0;
  bool good = true;
  while (good && count < kRound) {
    auto chain = queue.Pop();
    if (!chain) break;
    count++;
    good = Serve(index, *chain);
    // A wrong one is not given back: the device needs a reset now.
    if (good) queue.Push(chain->head, 0);
  }
  if (queue.InterruptDue()) active_.signal->UsedBuffers();
  if (!good || queue.broken()) return active_.signal->NeedsReset();
  if (count < kRound) return;
  more_queues_ |= 1U << index;
  more_ = loop_.After(Clock::duration::zero(), [this] {
    uint32_t queues = std::exchange(more_queues_, 0);
    for (size_t i = 0; i < kLimits.size(); i++)
      if ((queues >> i & 1) != 0 && !active_.signal->needs_reset()) Notify(i);
  });
}

bool BalloonDevice::Serve(size_t queue, const Chain& chain) {
  if (queue == kReport) return Report(chain);
  if (queue == kInflate) return Inflate(chain);
  // Deflated pages come back by being touched.
  metrics_.deflated_pages.fetch_add(chain.readable_bytes / sizeof(uint32_t),
                                    std::memory_order_relaxed);
  return true;
}

bool BalloonDevice::Inflate(const Chain& chain) {
  uint32_t pages = chain.readable_bytes / sizeof(uint32_t);
  if (pages > kMaxPages || chain.readable_bytes % sizeof(uint32_t) != 0) return false;
  PageRun run(*active_.memory);
  std::array<uint32_t, kMaxPages> numbers;
  auto given = std::span(numbers).first(pages);
  CopyFrom(chain.readable, 0, std::as_writable_bytes(given));
  for (uint32_t page : given)
    if (!run.Add(page)) return false;
  metrics_.inflated_pages.fetch_add(pages, std::memory_order_relaxed);
  return run.Flush();
}

bool BalloonDevice::Report(const Chain& chain) {
  for (Segment segment : chain.writable) {
    if (!active_.memory->Discard(segment).ok()) return false;
    metrics_.reported_bytes.fetch_add(segment.size(), std::memory_order_relaxed);
  }
  return true;
}

}  // namespace msb::vmm
