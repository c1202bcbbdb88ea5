// SPDX-License-Identifier: Apache-2.0
// Kernel images: what loads, and every way in which a file is not one.

#include "vmm/arch/x86_64/elf_kernel.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"
#include "base/units.h"
#include "sys/file.h"
#include "vmm/arch/x86_64/test_kernel.h"

namespace msb::vmm {
namespace {

Result<LoadedKernel> Load(const TestKernel& kernel, uint64_t memory_bytes = 64 * kMiB) {
  auto memory = GuestMemory::Create(memory_bytes);
  EXPECT_TRUE(memory.ok());
  auto file = kernel.File();
  return LoadKernel(file, *memory);
}

std::string WhyNot(const TestKernel& kernel, uint64_t memory_bytes = 64 * kMiB) {
  auto loaded = Load(kernel, memory_bytes);
  return loaded.ok() ? "it loads" : loaded.error().message();
}

TEST(KernelImage, LoadsSegmentsWhereTheFileSays) {
  TestKernel kernel;
  auto memory = GuestMemory::Create(64 * kMiB);
  auto file = kernel.File();
  auto loaded = LoadKernel(file, *memory);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->entry, TestKernel::kAddress + 8);
  EXPECT_EQ(loaded->end.value, TestKernel::kAddress + TestKernel::kMemorySize);
  auto code = memory->Slice({TestKernel::kAddress}, TestKernel::kMemorySize);
  EXPECT_EQ((*code)[0], TestKernel::kFill);
  EXPECT_EQ((*code)[TestKernel::kCodeSize - 1], TestKernel::kFill);
  EXPECT_EQ((*code)[TestKernel::kCodeSize], std::byte{0});
}

TEST(KernelImage, TakesAnEntryOf64Bits) {
  TestKernel kernel;
  kernel.SetNote(18, "Xen", uint64_t{TestKernel::kAddress});
  EXPECT_TRUE(Load(kernel).ok()) << WhyNot(kernel);
  kernel.SetNote(18, "Xen", uint64_t{0x1'0100'0000});
  EXPECT_EQ(WhyNot(kernel), "guest kernel: the PVH entry lies above 4 GiB");
}

TEST(KernelImage, RefusesWhatIsNotAnElfFileForThisProcessor) {
  TestKernel kernel;
  kernel.header().e_ident[1] = 'X';
  EXPECT_EQ(WhyNot(kernel), "guest kernel: not an ELF file");
  for (auto break_it : {+[](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; },
                        +[](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; },
                        +[](Elf64_Ehdr& h) { h.e_type = ET_REL; }}) {
    TestKernel other;
    break_it(other.header());
    EXPECT_EQ(WhyNot(other), "guest kernel: not an executable for x86-64");
  }
}

TEST(KernelImage, RefusesATruncatedFile) {
  TestKernel kernel;
  for (size_t size : {size_t{0}, size_t{63}, size_t{64}, size_t{150}, kernel.bytes().size() - 1}) {
    TestKernel cut;
    cut.bytes().resize(size);
    auto loaded = Load(cut);
    ASSERT_FALSE(loaded) << size;
    EXPECT_EQ(loaded.error().code(), Code::kDataLoss) << size;
    EXPECT_FALSE(loaded.error().remedy().empty()) << size;
  }
}

TEST(KernelImage, RefusesTablesThatWrapOrEndBeyondTheFile) {
  for (uint64_t offset : {~uint64_t{0}, ~uint64_t{0} - 63, uint64_t{1} << 40}) {
    TestKernel kernel;
    kernel.header().e_phoff = offset;
    EXPECT_EQ(WhyNot(kernel), "guest kernel: the table of segments is not in the file: truncated?");
  }
  TestKernel odd;
  odd.header().e_phentsize = 32;
  EXPECT_FALSE(Load(odd).ok());
  TestKernel many;
  many.header().e_phnum = 65;
  EXPECT_EQ(WhyNot(many), "guest kernel: 65 segments of 56 bytes each");
}

TEST(KernelImage, RefusesSegmentsThatCannotBe) {
  TestKernel outside;
  outside.load().p_offset = ~uint64_t{0} - 10;
  EXPECT_EQ(WhyNot(outside), "guest kernel: a segment is not in the file: truncated?");
  TestKernel small;
  small.load().p_memsz = small.load().p_filesz - 1;
  EXPECT_EQ(WhyNot(small), "guest kernel: a segment has more bytes than memory");
  TestKernel wraps;
  wraps.load().p_paddr = ~uint64_t{0} - 100;
  EXPECT_EQ(WhyNot(wraps), "guest kernel: a segment ends beyond all addresses");
  TestKernel low;
  low.load().p_paddr = 0x1000;
  low.SetNote(18, "Xen", uint32_t{0x1000});
  EXPECT_EQ(WhyNot(low), "guest kernel: a segment lies in the first MiB, which is not its");
}

TEST(KernelImage, RefusesAKernelLargerThanTheGuest) {
  TestKernel kernel;
  kernel.load().p_memsz = 64 * kMiB;
  EXPECT_NE(WhyNot(kernel).find("does not fit the guest's memory"), std::string::npos);
  // In the gap, where no memory is.
  kernel.load().p_paddr = 0xd000'0000;
  kernel.SetNote(18, "Xen", uint32_t{0xd000'0000});
  EXPECT_NE(WhyNot(kernel).find("does not fit the guest's memory"), std::string::npos);
}

TEST(KernelImage, RefusesAnEntryThatIsMissingOrLeadsElsewhere) {
  TestKernel other;
  other.SetNote(18, "GNU", uint32_t{TestKernel::kAddress});
  EXPECT_EQ(WhyNot(other), "guest kernel: no PVH entry: was it built with CONFIG_PVH?");
  TestKernel outside;
  outside.SetNote(18, "Xen", uint32_t{0x7000});
  EXPECT_EQ(WhyNot(outside), "guest kernel: the PVH entry lies in no segment");
}

TEST(PvhNote, RefusesSizesBeyondTheSegment) {
  for (auto [name, value] : {std::pair(0xffff'fff0u, 4u), std::pair(4u, 0xffff'ffffu)}) {
    ByteWriter note;
    note.Number(name);
    note.Number(value);
    note.Number<uint32_t>(18);
    note.Bytes(AsBytes(std::string_view("Xen\0\0\0\0\0", 8)));
    EXPECT_FALSE(FindPvhEntry(note.bytes(), 4)) << name << " " << value;
  }
}

TEST(PvhNote, StepsOverOthersAndTheirPadding) {
  ByteWriter notes;
  auto add = [&](std::string_view name, uint32_t type, std::string_view value) {
    notes.Number(static_cast<uint32_t>(name.size()));
    notes.Number(static_cast<uint32_t>(value.size()));
    notes.Number(type);
    notes.Bytes(AsBytes(name));
    for (size_t i = name.size(); i % 4 != 0; i++) notes.Number<uint8_t>(0);
    notes.Bytes(AsBytes(value));
    for (size_t i = value.size(); i % 4 != 0; i++) notes.Number<uint8_t>(0);
  };
  add(std::string_view("GNU\0", 4), 18, "12345");
  add("x", 1, "");
  add(std::string_view("Xen\0", 4), 17, "abc");
  add(std::string_view("Xen\0", 4), 18, std::string_view("\0\0\0\1", 4));
  auto entry = FindPvhEntry(notes.bytes(), 4);
  ASSERT_TRUE(entry);
  EXPECT_EQ(*entry, 0x100'0000u);
}

TEST(Initramfs, LiesOnThePageBehindTheKernel) {
  auto memory = GuestMemory::Create(64 * kMiB);
  auto file = *sys::MemFd("initramfs");
  ASSERT_TRUE(sys::WriteAll(file, "070701..."));
  auto range = LoadInitramfs(file, *memory, {0x100'0001});
  ASSERT_TRUE(range);
  EXPECT_EQ(range->start.value, 0x100'1000u);
  EXPECT_EQ(range->size, 9u);
  EXPECT_EQ(AsText(*memory->Slice(range->start, 9)), "070701...");
  EXPECT_FALSE(LoadInitramfs(file, *memory, {64 * kMiB - 4}));
  EXPECT_FALSE(LoadInitramfs(file, *memory, {~uint64_t{0}}));
}

}  // namespace
}  // namespace msb::vmm
