// SPDX-License-Identifier: Apache-2.0
// An uncompressed Linux kernel: an ELF file whose segments go to the physical addresses that it
// names, with a note that gives the 32-bit entry of the PVH boot protocol.
//
// ELF: System V ABI, AMD64 supplement. The note: XEN_ELFNOTE_PHYS32_ENTRY, Xen's elfnote.h and
// docs/misc/pvh. The file is ours, yet it is read as if it were not: a truncated or changed one is
// an error with a reason, nothing else.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace msb::vmm {

struct FileRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct KernelSegment {
  FileRange file;
  uint64_t address = 0;      // Physical.
  uint64_t memory_size = 0;  // At least the file's; the rest is zeros.
};

struct KernelNote {
  FileRange file;
  uint64_t alignment = 4;  // Of names and descriptors: 4 or 8.
};

struct KernelImage {
  std::vector<KernelSegment> segments;  // In the file's order.
  std::vector<KernelNote> notes;
};

inline constexpr size_t kElfHeaderSize = 64;
inline constexpr uint64_t kMaxNoteSize = 64 * 1024;

// Where the table of segments lies. `head` is the file's first kElfHeaderSize bytes.
Result<FileRange> ParseElfHeader(std::span<const std::byte> head, uint64_t file_size);
// Everything that it names lies within the file and within 64 bits.
Result<KernelImage> ParseSegments(std::span<const std::byte> table, uint64_t file_size);
// nullopt: this note segment has no such note. Fails when it is not a list of notes.
Result<std::optional<uint32_t>> FindPvhEntry(std::span<const std::byte> notes, uint64_t alignment);

struct LoadedKernel {
  uint32_t entry = 0;  // Physical, in 32-bit protected mode.
  GuestAddress end{};  // Behind the last byte of its memory.
};
// Reads the segments straight into the guest's memory, which is zero where they have none.
Result<LoadedKernel> LoadKernel(BorrowedFd file, const GuestMemory& memory);

struct GuestRange {
  GuestAddress start{};
  uint64_t size = 0;
};
// Reads the whole file to the first page at or above `from`.
Result<GuestRange> LoadInitramfs(BorrowedFd file, const GuestMemory& memory, GuestAddress from);

}  // namespace msb::vmm
