// SPDX-License-Identifier: Apache-2.0
// Any bytes as a kernel file: whatever is accepted lies within the file and is loaded where no
// byte is out of place.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/units.h"
#include "sys/file.h"
#include "vmm/arch/x86_64/elf_kernel.h"

namespace {

using msb::vmm::FileRange;

bool Within(const FileRange& range, size_t size) {
  return range.offset <= size && range.size <= size - range.offset;
}

// Through a file and into memory, as it is done for real.
void Load(std::span<const std::byte> bytes) {
  auto memory = msb::vmm::GuestMemory::Create(64 * msb::kMiB);
  auto file = msb::sys::MemFd("kernel");
  CHECK(memory.ok() && file.ok() && msb::sys::WriteAll(*file, bytes).ok());
  auto loaded = msb::vmm::LoadKernel(*file, *memory);
  CHECK(!loaded || loaded->end.value <= 64 * msb::kMiB);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  for (uint64_t alignment : {4u, 8u}) (void)msb::vmm::FindPvhEntry(bytes, alignment).ok();
  auto table = msb::vmm::ParseElfHeader(bytes, size);
  if (!table) return 0;
  CHECK(Within(*table, size));
  auto image = msb::vmm::ParseSegments(bytes.subspan(table->offset, table->size), size);
  if (!image) return 0;
  for (const auto& segment : image->segments) {
    CHECK(Within(segment.file, size));
    CHECK(segment.file.size <= segment.memory_size);
    CHECK(segment.address + segment.memory_size >= segment.address);
  }
  for (const auto& note : image->notes) CHECK(Within(note.file, size));
  Load(bytes);
  return 0;
}
