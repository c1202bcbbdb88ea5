// SPDX-License-Identifier: Apache-2.0
// The guest's memory: where its physical addresses lie in ours, checked at every use.
//
//   0 ............ 3 GiB .......... 4 GiB ...............
//   | low region  |  devices, APIC  | high region
//
// The last GiB below 4 GiB holds no memory: device windows and the interrupt controllers are there
// (every PC has it so, and Linux expects its local APIC at 0xfee00000). Memory beyond 3 GiB
// continues at 4 GiB.
//
// Every address and length of a guest is untrusted: Slice() is the one way from an address to
// bytes, and it answers for one region or not at all. The guest changes its memory while we look at
// it, so a value is copied once (ReadObject) and the copy is judged; no decision is made on bytes
// that stay in guest memory.

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "sys/mapping.h"

namespace msb::vmm {

// A guest-physical address.
struct GuestAddress {
  uint64_t value = 0;
  friend auto operator<=>(GuestAddress, GuestAddress) = default;
};
Result<GuestAddress> CheckedAdd(GuestAddress address, uint64_t bytes);

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr GuestAddress kGapStart{3 * kGiB};
inline constexpr GuestAddress kGapEnd{4 * kGiB};

// Private anonymous memory of the host, taken when it is first touched. Constant after Create():
// any thread may use it.
class GuestMemory {
 public:
  struct Region {
    GuestAddress start;
    uint64_t size;    // Bytes; whole pages.
    std::byte* host;  // Aligned to 2 MiB as `start` is, so that huge pages fit both sides.
  };

  // `bytes`: whole pages, at least one. Kept out of core dumps and of same-page merging.
  static Result<GuestMemory> Create(uint64_t bytes);

  std::span<const Region> regions() const { return regions_; }
  uint64_t bytes() const;

  // kInvalidArgument when the range does not lie wholly in one region. An empty range is fine
  // wherever a region is, its end included.
  Result<std::span<std::byte>> Slice(GuestAddress address, size_t size) const;

  template <class T>
  requires std::is_trivially_copyable_v<T> Result<T> ReadObject(GuestAddress address)
  const {
    auto bytes = TRY(Slice(address, sizeof(T)));
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    // The copy is made here and now: the compiler may not read the guest's bytes again instead.
    asm volatile("" : "+m"(value));
    return value;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T> Result<void> WriteObject(GuestAddress address,
                                                                    const T& value)
  const {
    auto bytes = TRY(Slice(address, sizeof(T)));
    std::memcpy(bytes.data(), &value, sizeof value);
    return {};
  }

  // Gives whole pages back to the host; the guest reads zeros there afterwards. kInvalidArgument
  // when the range is not whole pages of one region.
  Result<void> Discard(GuestAddress address, uint64_t size) const;
  // The same for what Slice() gave.
  Result<void> Discard(std::span<std::byte> slice) const;

 private:
  GuestMemory(sys::Mapping mapping, std::vector<Region> regions)
      : mapping_(std::move(mapping)), regions_(std::move(regions)) {}

  sys::Mapping mapping_;
  std::vector<Region> regions_;
};

}  // namespace msb::vmm
