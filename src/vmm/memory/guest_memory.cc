// SPDX-License-Identifier: Apache-2.0
// One anonymous mapping for all regions, and the arithmetic that keeps a guest inside it.

#include "vmm/memory/guest_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "base/text.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kHugePageBytes = 2 * kMiB;

Error OutsideMemory(GuestAddress address, uint64_t size) {
  return Error(Code::kInvalidArgument,
               Cat("guest range of ", size, " bytes at ", address.value, " is not in its memory"));
}

Result<void> Advise(std::span<std::byte> bytes, int advice, const char* name) {
  if (::madvise(bytes.data(), bytes.size(), advice) == -1)
    return Error::Errno(Cat("madvise ", name));
  return {};
}

}  // namespace

Result<GuestAddress> CheckedAdd(GuestAddress address, uint64_t bytes) {
  return GuestAddress{TRY(msb::CheckedAdd(address.value, bytes))};
}

Result<GuestMemory> GuestMemory::Create(uint64_t bytes) {
  if (bytes == 0 || bytes % kPageBytes != 0)
    return Error(Code::kInvalidArgument, Cat("guest memory of ", bytes, " bytes: not whole pages"));
  // One huge page more than asked, so that the start can be moved to a huge page's.
  uint64_t reserved = TRY(msb::CheckedAdd<uint64_t>(bytes, kHugePageBytes));
  // NORESERVE: what the guest never touches should not count against the host's commit limit; the
  // memory limit is the cgroup's.
  auto mapping = TRY(sys::MapAnonymous(TRY(checked_cast<size_t>(reserved)), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_NORESERVE)
                         .Context(Cat("guest memory of ", FormatSize(bytes)))
                         .Remedy("ask for less with --memory"));
  // SAFETY: only the address is computed with; the pointer is made from the mapping's own.
  uint64_t start = reinterpret_cast<uintptr_t>(mapping.bytes().data());
  auto usable = mapping.bytes().subspan(AlignUp(start, kHugePageBytes) - start, bytes);
  TRY(Advise(usable, MADV_DONTDUMP, "MADV_DONTDUMP"));
  // EINVAL: a kernel without huge pages or without merging, where there is nothing to ask for.
  // Merging is off unless somebody turned it on for all of the process (PR_SET_MEMORY_MERGE is
  // inherited through exec); equal pages then tell one guest about another's.
  for (auto [advice, name] : {std::pair(MADV_HUGEPAGE, "MADV_HUGEPAGE"),
                              std::pair(MADV_UNMERGEABLE, "MADV_UNMERGEABLE")}) {
    auto advised = Advise(usable, advice, name);
    if (!advised.ok() && advised.error().sys_errno() != EINVAL) return std::move(advised).error();
  }

  uint64_t low = std::min(bytes, kGapStart.value);
  std::vector<Region> regions{{GuestAddress{0}, low, usable.data()}};
  if (bytes > low) regions.push_back({kGapEnd, bytes - low, usable.subspan(low).data()});
  return GuestMemory(std::move(mapping), std::move(regions));
}

uint64_t GuestMemory::bytes() const {
  uint64_t sum = 0;
  for (const Region& region : regions_) sum += region.size;
  return sum;
}

Result<std::span<std::byte>> GuestMemory::Slice(GuestAddress address, size_t size) const {
  for (const Region& region : regions_) {
    if (address < region.start) continue;
    uint64_t offset = address.value - region.start.value;
    if (offset <= region.size && size <= region.size - offset)
      return std::span(region.host + offset, size);
  }
  return OutsideMemory(address, size);
}

Result<void> GuestMemory::Discard(GuestAddress address, uint64_t size) const {
  return Discard(TRY(Slice(address, TRY(checked_cast<size_t>(size)))));
}

Result<void> GuestMemory::Discard(std::span<std::byte> slice) const {
  for (const Region& region : regions_) {
    // std::less: pointers into different objects have no other order.
    if (std::less<>()(slice.data(), region.host)) continue;
    auto offset = static_cast<uint64_t>(slice.data() - region.host);
    if (offset > region.size || slice.size() > region.size - offset) continue;
    if (offset % kPageBytes != 0 || slice.size() % kPageBytes != 0)
      return Error(Code::kInvalidArgument, "discard of parts of pages");
    if (slice.empty()) return {};
    // Private anonymous memory: MADV_DONTNEED frees at once and the next touch reads zeros. (A
    // shared memfd wants MADV_REMOVE, a private file mapping its pages replaced.)
    return Advise(slice, MADV_DONTNEED, "MADV_DONTNEED");
  }
  return Error(Code::kInvalidArgument, "discard outside of guest memory");
}

}  // namespace msb::vmm
