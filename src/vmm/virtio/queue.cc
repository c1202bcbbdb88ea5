// SPDX-License-Identifier: Apache-2.0
// Reading chains, writing the used ring, and the two questions of event indexes.

#include "vmm/virtio/queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <limits>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "vmm/virtio/ring.h"

namespace msb::vmm {
namespace {

// What the other side reads or writes at the same time.
uint16_t LoadShared(std::byte* at, std::memory_order order) {
  // SAFETY: Create() has checked that `at` lies in guest memory and is aligned to two bytes.
  return std::atomic_ref(*reinterpret_cast<uint16_t*>(at)).load(order);
}
void StoreShared(std::byte* at, uint16_t value, std::memory_order order) {
  // SAFETY: as above.
  std::atomic_ref(*reinterpret_cast<uint16_t*>(at)).store(value, order);
}

// Two loads that the compiler may neither repeat nor leave out: what is judged is what is used.
RingDescriptor LoadDescriptor(std::byte* at) {
  // SAFETY: Create() has checked that the table lies in guest memory and is aligned to 16 bytes.
  auto word = [at](size_t i) {
    return std::atomic_ref(reinterpret_cast<uint64_t*>(at)[i]).load(std::memory_order_relaxed);
  };
  return std::bit_cast<RingDescriptor>(std::array{word(0), word(1)});
}

// Is `event` among the indexes passed on the way from `before` to `now` (2.7.7.2)?
bool Passed(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

Result<std::byte*> Area(const GuestMemory& memory, GuestAddress address, size_t bytes,
                        uint64_t alignment, const char* name) {
  if (address.value % alignment != 0)
    return Error(Code::kInvalidArgument, Cat(name, " at ", address.value, " is not aligned"));
  return TRY(memory.Slice(address, bytes).Context(name)).data();
}

// Walks `segments` from `skip` bytes in, giving pieces to `use` until `limit` bytes are through.
template <class Use>
size_t Walk(std::span<const Segment> segments, size_t skip, size_t limit, Use use) {
  size_t done = 0;
  for (Segment segment : segments) {
    if (done == limit) break;
    if (skip >= segment.size()) {
      skip -= segment.size();
      continue;
    }
    Segment piece = segment.subspan(skip, std::min(segment.size() - skip, limit - done));
    skip = 0;
    use(piece, done);
    done += piece.size();
  }
  return done;
}

}  // namespace

size_t CopyFrom(std::span<const Segment> segments, size_t skip, std::span<std::byte> out) {
  return Walk(segments, skip, out.size(), [&](Segment piece, size_t at) {
    std::memcpy(out.data() + at, piece.data(), piece.size());
  });
}

size_t CopyTo(std::span<const Segment> segments, size_t skip, std::span<const std::byte> in) {
  return Walk(segments, skip, in.size(), [&](Segment piece, size_t at) {
    std::memcpy(piece.data(), in.data() + at, piece.size());
  });
}

size_t ToParts(std::span<const Segment> segments, size_t skip, size_t limit,
               std::span<iovec> parts) {
  size_t count = 0;
  Walk(segments, skip, limit, [&](Segment piece, size_t) {
    if (count < parts.size()) parts[count++] = {piece.data(), piece.size()};
  });
  return count;
}

Queue::Queue(const GuestMemory& memory, const QueueConfig& config, EventIndex event_index,
             const QueueState& state)
    : memory_(&memory),
      config_(config),
      event_index_(event_index == EventIndex::kOn),
      state_(state),
      segments_(config.size) {}

Result<Queue> Queue::Create(const GuestMemory& memory, const QueueConfig& config,
                            EventIndex event_index, const QueueState& state) {
  if (!std::has_single_bit(config.size) || config.size > kMaxQueueSize)
    return Error(Code::kInvalidArgument, Cat("queue of ", config.size, " entries"));
  Queue queue(memory, config, event_index, state);
  size_t size = config.size;
  queue.descriptors_ =
      TRY(Area(memory, config.descriptors, DescriptorBytes(size), 16, "descriptor table"));
  queue.available_ = TRY(Area(memory, config.available, AvailableBytes(size), 2, "available ring"));
  queue.used_ = TRY(Area(memory, config.used, UsedBytes(size), 4, "used ring"));
  return queue;
}

std::nullopt_t Queue::Broken() {
  state_.broken = true;
  return std::nullopt;
}

bool Queue::Available() {
  if (state_.broken) return false;
  auto waiting = [&](std::memory_order order) {
    return static_cast<uint16_t>(LoadShared(available_ + kRingIndex, order) -
                                 state_.next_available);
  };
  uint16_t count = waiting(std::memory_order_acquire);
  if (count == 0 && event_index_) {
    // The driver stores its index and then loads our event; we store the event and then load its
    // index. In sequential order on both sides, one of us sees the other's. (No fence between
    // weaker accesses: ThreadSanitizer does not know it.)
    StoreShared(used_ + AvailableEventOffset(config_.size), state_.next_available,
                std::memory_order_seq_cst);
    count = waiting(std::memory_order_seq_cst);
  }
  if (count > config_.size) Broken();
  return count != 0 && !state_.broken;
}

std::optional<Chain> Queue::Pop() {
  segments_used_ = 0;
  return PopMore();
}

std::optional<Chain> Queue::PopMore() {
  if (!Available()) return std::nullopt;
  size_t slot = state_.next_available % config_.size;
  auto head = LoadShared(available_ + kRingEntries + 2 * slot, std::memory_order_relaxed);
  auto chain = ReadChain(head);
  if (chain) state_.next_available++;
  return chain;
}

std::optional<Chain> Queue::ReadChain(uint16_t head) {
  Chain chain{.head = head};
  size_t first = segments_used_;
  size_t readable = 0;
  size_t count = 0;
  uint64_t bytes[2] = {0, 0};  // Readable, writable.
  for (uint16_t index = head;;) {
    if (index >= config_.size || count == config_.size) return Broken();
    auto descriptor = LoadDescriptor(descriptors_ + DescriptorBytes(index));
    bool writable = (descriptor.flags & kDescriptorWrite) != 0;
    if ((descriptor.flags & kDescriptorIndirect) != 0 || descriptor.bytes == 0) return Broken();
    if (!writable && readable != count) return Broken();
    auto piece = memory_->Slice(GuestAddress{descriptor.address}, descriptor.bytes);
    if (!piece.ok()) return Broken();
    if (first + count == segments_.size()) return std::nullopt;  // Only after PopMore().
    segments_[first + count++] = *piece;
    if (!writable) readable++;
    bytes[writable ? 1 : 0] += descriptor.bytes;
    if (bytes[0] + bytes[1] > std::numeric_limits<uint32_t>::max()) return Broken();
    if ((descriptor.flags & kDescriptorNext) == 0) break;
    index = descriptor.next;
  }
  segments_used_ = first + count;
  std::span<const Segment> pieces = std::span(segments_).subspan(first, count);
  chain.readable = pieces.first(readable);
  chain.writable = pieces.subspan(readable);
  chain.readable_bytes = static_cast<uint32_t>(bytes[0]);
  chain.writable_bytes = static_cast<uint32_t>(bytes[1]);
  return chain;
}

void Queue::Undo(uint16_t count) {
  state_.next_available = static_cast<uint16_t>(state_.next_available - count);
}

void Queue::Push(uint16_t head, uint32_t written) {
  CHECK(head < config_.size);
  UsedEntry entry{.head = head, .written = written};
  size_t slot = state_.next_used % config_.size;
  StoreLittle(used_ + kRingEntries + sizeof(UsedEntry) * slot, entry);
  state_.next_used++;
  // Release: the entry, and the data, before the index that announces them.
  StoreShared(used_ + kRingIndex, state_.next_used, std::memory_order_release);
}

bool Queue::InterruptDue() {
  uint16_t before = std::exchange(state_.signalled_used, state_.next_used);
  if (before == state_.next_used) return false;
  // As in Available(), for the used index and the driver's event: stored once more, in order.
  StoreShared(used_ + kRingIndex, state_.next_used, std::memory_order_seq_cst);
  if (event_index_) {
    uint16_t event =
        LoadShared(available_ + UsedEventOffset(config_.size), std::memory_order_seq_cst);
    return Passed(event, state_.next_used, before);
  }
  uint16_t flags = LoadShared(available_ + kRingFlags, std::memory_order_seq_cst);
  return (flags & kNoInterrupt) == 0;
}

}  // namespace msb::vmm
