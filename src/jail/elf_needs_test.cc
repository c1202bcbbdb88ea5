// SPDX-License-Identifier: Apache-2.0
// What a program needs, read from its file: real files, and broken ones.

#include "jail/elf_needs.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"

namespace msb::jail {
namespace {

using testing::Contains;
using testing::Field;

// One file: ELF header, two program headers (LOAD over all, DYNAMIC), strings, dynamic section.
std::vector<std::byte> SmallElf(uint64_t dynamic_offset = 256, uint64_t string_address = 200) {
  std::vector<std::byte> file(512);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
#if defined(__x86_64__)
  header.e_machine = EM_X86_64;
#else
  header.e_machine = EM_AARCH64;
#endif
  header.e_phoff = 64;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  StoreLittle(file.data(), header);
  Elf64_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_filesz = 512;
  StoreLittle(file.data() + 64, load);
  Elf64_Phdr dynamic{};
  dynamic.p_type = PT_DYNAMIC;
  dynamic.p_offset = dynamic_offset;
  dynamic.p_filesz = 4 * sizeof(Elf64_Dyn);
  StoreLittle(file.data() + 64 + sizeof load, dynamic);
  std::memcpy(file.data() + 200, "\0liba.so\0/opt/x:$ORIGIN/y", 26);
  auto put = [&](size_t index, int64_t tag, uint64_t value) {
    StoreLittle(file.data() + 256 + index * sizeof(Elf64_Dyn), Elf64_Dyn{tag, {value}});
  };
  put(0, DT_NEEDED, 1);
  put(1, DT_RUNPATH, 9);
  put(2, DT_STRTAB, string_address);
  put(3, DT_NULL, 0);
  return file;
}

TEST(ElfNeeds, ReadsLibrariesAndDirectoriesWithoutOrigin) {
  auto needs = ParseElfNeeds(SmallElf());
  ASSERT_TRUE(needs.ok()) << needs.error().message();
  EXPECT_EQ(needs->needed, std::vector<std::string>{"liba.so"});
  EXPECT_EQ(needs->runpath, std::vector<std::string>{"/opt/x"});
  EXPECT_EQ(needs->interpreter, "");
}

TEST(ElfNeeds, RefusesEveryTruncation) {
  auto file = SmallElf();
  for (size_t size = 0; size < 320; size++)
    EXPECT_FALSE(ParseElfNeeds(std::span(file).first(size)).ok()) << size;
}

TEST(ElfNeeds, RefusesOffsetsOutsideTheFile) {
  EXPECT_FALSE(ParseElfNeeds(SmallElf(~0ull - 8)).ok());
  EXPECT_FALSE(ParseElfNeeds(SmallElf(100'000)).ok());
  EXPECT_FALSE(ParseElfNeeds(SmallElf(256, 1ull << 40)).ok());
}

TEST(ElfNeeds, RefusesOtherFiles) {
  EXPECT_FALSE(ParseElfNeeds(AsBytes("#!/bin/sh\n")).ok());
  auto file = SmallElf();
  file[EI_CLASS] = std::byte{ELFCLASS32};
  EXPECT_FALSE(ParseElfNeeds(file).ok());
}

TEST(LoaderCache, RefusesACountThatTheFileCannotHold) {
  std::string cache = "glibc-ld.so.cache1.1";
  cache += std::string("\xff\xff\xff\x7f", 4);
  cache.resize(200);
  EXPECT_FALSE(ParseLoaderCache(AsBytes(cache)).ok());
  EXPECT_FALSE(ParseLoaderCache(AsBytes("something else")).ok());
}

TEST(FilesOfProgram, FindsTheLoaderAndTheLibraryOfAShell) {
  auto files = FilesOfProgram("/bin/sh");
  ASSERT_TRUE(files.ok()) << files.error().message();
  EXPECT_THAT(*files, Contains(Field(&JailBind::executable, true)));
  EXPECT_THAT(*files, Contains(Field(&JailBind::source, testing::HasSubstr("libc.so.6"))));
}

TEST(FilesOfProgram, NamesTheMissingFile) {
  auto files = FilesOfProgram("/no/such/program");
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().code(), Code::kNotFound);
  EXPECT_THAT(files.error().message(), testing::HasSubstr("/no/such/program"));
}

}  // namespace
}  // namespace msb::jail
