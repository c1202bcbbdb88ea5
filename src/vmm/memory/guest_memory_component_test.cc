// SPDX-License-Identifier: Apache-2.0
// What the host's kernel thinks of the guest's memory.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "vmm/memory/guest_memory.h"

namespace msb::vmm {
namespace {

size_t ResidentPages(std::span<std::byte> bytes) {
  std::vector<unsigned char> resident(bytes.size() / kPageBytes);
  EXPECT_EQ(::mincore(bytes.data(), bytes.size(), resident.data()), 0);
  return static_cast<size_t>(
      std::count_if(resident.begin(), resident.end(), [](auto page) { return (page & 1) != 0; }));
}

// The flags of the mapping that holds `at`, as /proc/self/smaps has them: "rd wr mr ... dd hg".
std::string FlagsOf(const std::byte* at) {
  std::FILE* file = std::fopen("/proc/self/smaps", "re");
  EXPECT_NE(file, nullptr);
  std::string flags;
  bool inside = false;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long start = 0;
    unsigned long end = 0;
    auto address = reinterpret_cast<uintptr_t>(at);
    if (std::sscanf(line, "%lx-%lx ", &start, &end) == 2)
      inside = address >= start && address < end;
    if (inside && std::string_view(line).starts_with("VmFlags:")) flags = line + 8;
  }
  std::fclose(file);
  return flags;
}

TEST(GuestMemoryOnTheHost, TakesPagesWhenTouched) {
  auto memory = GuestMemory::Create(64 * kMiB);
  ASSERT_TRUE(memory.ok());
  auto all = *memory->Slice({0}, 64 * kMiB);
  EXPECT_EQ(ResidentPages(all), 0U);
  ASSERT_TRUE(memory->WriteObject({kMiB}, 1).ok());
  EXPECT_GE(ResidentPages(all), 1U);
}

TEST(GuestMemoryOnTheHost, DiscardGivesPagesBackAndReadsZeros) {
  auto memory = GuestMemory::Create(16 * kMiB);
  ASSERT_TRUE(memory.ok());
  auto all = *memory->Slice({0}, 16 * kMiB);
  std::fill(all.begin(), all.end(), std::byte{0xa5});
  ASSERT_EQ(ResidentPages(all), all.size() / kPageBytes);
  ASSERT_TRUE(memory->Discard({4 * kMiB}, 8 * kMiB).ok());
  EXPECT_EQ(ResidentPages(all), 8 * kMiB / kPageBytes);
  EXPECT_EQ(ResidentPages(all.subspan(4 * kMiB, 8 * kMiB)), 0U);
  EXPECT_EQ(all[4 * kMiB - 1], std::byte{0xa5});
  EXPECT_EQ(all[4 * kMiB], std::byte{0});
  EXPECT_EQ(all[12 * kMiB - 1], std::byte{0});
  EXPECT_EQ(all[12 * kMiB], std::byte{0xa5});
}

TEST(GuestMemoryOnTheHost, DiscardOfOnePageInAHugeOneGivesThatPageBack) {
  auto memory = GuestMemory::Create(4 * kMiB);
  ASSERT_TRUE(memory.ok());
  auto all = *memory->Slice({0}, 4 * kMiB);
  std::fill(all.begin(), all.end(), std::byte{1});
  ASSERT_TRUE(memory->Discard(all.subspan(7 * kPageBytes, kPageBytes)).ok());
  EXPECT_EQ(ResidentPages(all), all.size() / kPageBytes - 1);
}

TEST(GuestMemoryOnTheHost, StaysOutOfCoreDumpsAndOfMerging) {
  auto memory = GuestMemory::Create(4 * kMiB);
  ASSERT_TRUE(memory.ok());
  std::string flags = FlagsOf(memory->regions()[0].host);
  EXPECT_NE(flags.find(" dd"), std::string::npos) << flags;
  EXPECT_EQ(flags.find(" mg"), std::string::npos) << flags;
}

}  // namespace
}  // namespace msb::vmm
