// SPDX-License-Identifier: Apache-2.0
// The structures of the PVH start info.

#include "vmm/arch/x86_64/start_info.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

constexpr uint32_t kMagic = 0x336ec578;
constexpr uint32_t kVersion = 1;

struct StartInfo {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t module_count;
  uint64_t module_list;
  uint64_t command_line;
  uint64_t acpi_root;
  uint64_t memory_map;
  uint32_t memory_map_entries;
  uint32_t reserved;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
  uint64_t address;
  uint64_t size;
  uint64_t command_line;
  uint64_t reserved;
};
struct MapEntry {
  uint64_t address;
  uint64_t size;
  uint32_t type;
  uint32_t reserved;
};
static_assert(sizeof(Module) == 32 && sizeof(MapEntry) == 24);

constexpr GuestAddress kModuleAddress{kStartInfoAddress.value + 0x40};
constexpr GuestAddress kMemoryMapAddress{kStartInfoAddress.value + 0x80};
// Two below 1 MiB, one above, one above 4 GiB.
constexpr size_t kMaxMapEntries = 8;
static_assert(kMemoryMapAddress.value + kMaxMapEntries * sizeof(MapEntry) <=
              kCommandLineAddress.value);

}  // namespace

std::vector<MemoryMapEntry> MakeMemoryMap(const GuestMemory& memory) {
  using Type = MemoryMapEntry::Type;
  uint64_t conventional = kMpTableAddress.value, high = kHighMemoryAddress.value;
  std::vector<MemoryMapEntry> map = {{0, conventional, Type::kMemory},
                                     {conventional, high - conventional, Type::kReserved}};
  for (const GuestMemory::Region& region : memory.regions()) {
    uint64_t start = std::max(region.start.value, high);
    uint64_t end = region.start.value + region.size;
    if (end > start) map.push_back({start, end - start, Type::kMemory});
  }
  return map;
}

Result<void> WriteStartInfo(const GuestMemory& memory, std::string_view command_line,
                            std::optional<GuestRange> initramfs) {
  if (command_line.size() >= kCommandLineLimit || command_line.find('\0') != command_line.npos)
    return Error(Code::kInvalidArgument,
                 Cat("kernel command line: ", command_line.size(), " bytes, at most ",
                     kCommandLineLimit - 1, ", none of them zero"));
  auto text = TRY(memory.Slice(kCommandLineAddress, command_line.size() + 1));
  auto zero = std::copy_n(AsBytes(command_line).begin(), command_line.size(), text.begin());
  *zero = std::byte{0};

  auto map = MakeMemoryMap(memory);
  CHECK(map.size() <= kMaxMapEntries);
  GuestAddress at = kMemoryMapAddress;
  for (const MemoryMapEntry& entry : map) {
    TRY(memory.WriteObject(at,
                           MapEntry{entry.start, entry.size, static_cast<uint32_t>(entry.type)}));
    at.value += sizeof(MapEntry);
  }
  StartInfo info{};
  info.magic = kMagic;
  info.version = kVersion;
  info.command_line = kCommandLineAddress.value;
  info.memory_map = kMemoryMapAddress.value;
  info.memory_map_entries = static_cast<uint32_t>(map.size());
  if (initramfs) {
    info.module_count = 1;
    info.module_list = kModuleAddress.value;
    TRY(memory.WriteObject(kModuleAddress, Module{initramfs->start.value, initramfs->size}));
  }
  return memory.WriteObject(kStartInfoAddress, info);
}

}  // namespace msb::vmm
