// SPDX-License-Identifier: Apache-2.0
// MP table and PVH start info, read as a kernel reads them.

#include <gtest/gtest.h>

#include <numeric>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/mp_table.h"
#include "vmm/arch/x86_64/start_info.h"

namespace msb::vmm {
namespace {

unsigned Sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), 0u,
                         [](unsigned s, std::byte b) { return s + std::to_integer<unsigned>(b); }) &
         0xff;
}

struct MpContents {
  std::vector<uint8_t> processors, io_apics;
  std::vector<std::array<uint8_t, 2>> lines;  // Line of the bus, pin.
  int boot_processors = 0, buses = 0, local = 0;
};

// Walks the entries by their types' sizes: MP specification, table 4-3.
MpContents Walk(std::span<const std::byte> table) {
  MpContents contents;
  auto byte = [&](size_t at) { return std::to_integer<uint8_t>(table[at]); };
  auto count = LoadLittle<uint16_t>(table.data() + 16 + 34);
  size_t at = 16 + 44;
  uint8_t last = 0;
  for (int i = 0; i < count; i++) {
    uint8_t type = byte(at);
    EXPECT_GE(type, last) << "entries are sorted by type";
    last = type;
    if (type == 0) {
      contents.processors.push_back(byte(at + 1));
      EXPECT_TRUE(byte(at + 3) & 1);
      if ((byte(at + 3) & 2) != 0) contents.boot_processors++;
    }
    if (type == 1) contents.buses++;
    if (type == 2) {
      contents.io_apics.push_back(byte(at + 1));
      EXPECT_EQ(LoadLittle<uint32_t>(table.data() + at + 4), 0xfec00000u);
    }
    if (type == 3) {
      contents.lines.push_back({byte(at + 5), byte(at + 7)});
      EXPECT_EQ(byte(at + 6), contents.io_apics[0]);
    }
    if (type == 4) contents.local++;
    at += type == 0 ? 20 : 8;
  }
  EXPECT_EQ(at, table.size());
  return contents;
}

TEST(MpTable, HoldsEveryProcessorByItsApicId) {
  for (uint32_t cpus : {1u, 2u, 8u, 32u}) {
    auto table = MakeMpTable(cpus, 6);
    auto contents = Walk(table);
    std::vector<uint8_t> expected(cpus);
    std::iota(expected.begin(), expected.end(), uint8_t{0});
    EXPECT_EQ(contents.processors, expected);
    EXPECT_EQ(contents.boot_processors, 1);
    ASSERT_EQ(contents.io_apics.size(), 1u);
    EXPECT_EQ(contents.io_apics[0], cpus) << "no processor has this id";
    EXPECT_EQ(contents.buses, 1);
    EXPECT_EQ(contents.local, 2);
  }
}

TEST(MpTable, ChecksumsAreRightAndTheLargestFits) {
  for (uint32_t cpus : {1u, 17u, 32u}) {
    auto table = MakeMpTable(cpus, 24);
    auto bytes = std::span<const std::byte>(table);
    EXPECT_EQ(AsText(bytes.first(4)), "_MP_");
    EXPECT_EQ(Sum(bytes.first(16)), 0u);
    EXPECT_EQ(LoadLittle<uint32_t>(table.data() + 4), kMpTableAddress.value + 16);
    EXPECT_EQ(AsText(bytes.subspan(16, 4)), "PCMP");
    EXPECT_EQ(LoadLittle<uint16_t>(table.data() + 20), table.size() - 16);
    EXPECT_EQ(Sum(bytes.subspan(16)), 0u);
    EXPECT_LE(table.size(), kMpTableLimit);
  }
}

TEST(MpTable, LineNLeadsToPinNAndNoneIsZero) {
  auto contents = Walk(MakeMpTable(1, 6));
  std::vector<std::array<uint8_t, 2>> expected = {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}};
  EXPECT_EQ(contents.lines, expected);
}

uint64_t Number(const GuestMemory& memory, uint64_t at) {
  auto value = memory.ReadObject<uint64_t>({at});
  EXPECT_TRUE(value.ok());
  return value.ok() ? *value : 0;
}

TEST(StartInfo, LeadsToCommandLineInitramfsAndMemoryMap) {
  auto memory = GuestMemory::Create(64 * kMiB);
  ASSERT_TRUE(WriteStartInfo(*memory, "quiet x=1", GuestRange{{0x200'0000}, 12345}));
  uint64_t info = kStartInfoAddress.value;
  EXPECT_EQ(Number(*memory, info) & 0xffff'ffff, 0x336ec578u);
  EXPECT_EQ(Number(*memory, info) >> 32, 1u);
  EXPECT_EQ(Number(*memory, info + 8) >> 32, 1u) << "one module";
  uint64_t module = Number(*memory, info + 16);
  EXPECT_EQ(Number(*memory, module), 0x200'0000u);
  EXPECT_EQ(Number(*memory, module + 8), 12345u);
  uint64_t line = Number(*memory, info + 24);
  EXPECT_EQ(AsText(*memory->Slice({line}, 10)), std::string_view("quiet x=1\0", 10));
  EXPECT_EQ(Number(*memory, info + 32), 0u) << "no ACPI";
  uint64_t map = Number(*memory, info + 40);
  EXPECT_EQ(Number(*memory, info + 48), 3u);
  EXPECT_EQ(Number(*memory, map + 2 * 24), 0x10'0000u);
  EXPECT_EQ(Number(*memory, map + 2 * 24 + 8), 63 * kMiB);
  EXPECT_EQ(Number(*memory, map + 2 * 24 + 16), 1u);
}

TEST(StartInfo, RefusesALineThatLinuxWouldCutOff) {
  auto memory = GuestMemory::Create(64 * kMiB);
  EXPECT_TRUE(WriteStartInfo(*memory, std::string(2047, 'x'), std::nullopt).ok());
  EXPECT_FALSE(WriteStartInfo(*memory, std::string(2048, 'x'), std::nullopt).ok());
  EXPECT_FALSE(WriteStartInfo(*memory, std::string_view("a\0b", 3), std::nullopt).ok());
}

TEST(MemoryMap, LeavesOutTheHoleBelow1MibAndTheGap) {
  auto memory = GuestMemory::Create(4 * kGiB);
  auto map = MakeMemoryMap(*memory);
  using Type = MemoryMapEntry::Type;
  ASSERT_EQ(map.size(), 4u);
  EXPECT_EQ(map[0].start, 0u);
  EXPECT_EQ(map[0].size, 0x9fc00u);
  EXPECT_EQ(map[1].type, Type::kReserved);
  EXPECT_EQ(map[1].start + map[1].size, 0x10'0000u);
  EXPECT_EQ(map[2].start, 0x10'0000u);
  EXPECT_EQ(map[2].start + map[2].size, 3 * kGiB);
  EXPECT_EQ(map[3].start, 4 * kGiB);
  EXPECT_EQ(map[3].size, 1 * kGiB);
}

}  // namespace
}  // namespace msb::vmm
