// SPDX-License-Identifier: Apache-2.0
// Parsers of the ELF file, pure; at the end the functions that read it.

#include "vmm/arch/x86_64/elf_kernel.h"

#include <elf.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "sys/file.h"
#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

constexpr uint32_t kXenElfNotePhys32Entry = 18;
constexpr std::string_view kXenName{"Xen\0", 4};
// vmlinux has five.
constexpr uint16_t kMaxSegments = 64;
constexpr uint64_t kPage = 4096;

Error Bad(std::string_view what) {
  return Error(Code::kDataLoss, Cat("guest kernel: ", what))
      .Remedy("build it again: guest/kernel/build; or install the guest's files again");
}

bool Within(const FileRange& range, uint64_t file_size) {
  return range.offset <= file_size && range.size <= file_size - range.offset;
}

Result<void> AddNote(const Elf64_Phdr& header, KernelImage& image) {
  KernelNote note{{header.p_offset, header.p_filesz}, header.p_align == 8 ? 8u : 4u};
  if (note.file.size > kMaxNoteSize) return Bad("a note segment is larger than 64 KiB");
  image.notes.push_back(note);
  return {};
}

Result<void> AddSegment(const Elf64_Phdr& header, KernelImage& image) {
  if (header.p_filesz > header.p_memsz) return Bad("a segment has more bytes than memory");
  uint64_t end;
  if (__builtin_add_overflow(header.p_paddr, header.p_memsz, &end))
    return Bad("a segment ends beyond all addresses");
  if (header.p_memsz == 0) return {};
  image.segments.push_back({{header.p_offset, header.p_filesz}, header.p_paddr, header.p_memsz});
  return {};
}

}  // namespace

Result<FileRange> ParseElfHeader(std::span<const std::byte> head, uint64_t file_size) {
  if (head.size() < kElfHeaderSize) return Bad("shorter than an ELF header");
  auto header = LoadLittle<Elf64_Ehdr>(head.data());
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Bad("not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64 || header.e_type != ET_EXEC)
    return Bad("not an executable for x86-64");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kMaxSegments)
    return Bad(Cat(header.e_phnum, " segments of ", header.e_phentsize, " bytes each"));
  FileRange table{header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr)};
  if (!Within(table, file_size)) return Bad("the table of segments is not in the file: truncated?");
  return table;
}

Result<KernelImage> ParseSegments(std::span<const std::byte> table, uint64_t file_size) {
  KernelImage image;
  for (; table.size() >= sizeof(Elf64_Phdr); table = table.subspan(sizeof(Elf64_Phdr))) {
    auto header = LoadLittle<Elf64_Phdr>(table.data());
    if (header.p_type != PT_LOAD && header.p_type != PT_NOTE) continue;
    if (!Within({header.p_offset, header.p_filesz}, file_size))
      return Bad("a segment is not in the file: truncated?");
    if (header.p_type == PT_LOAD) TRY(AddSegment(header, image));
    if (header.p_type == PT_NOTE) TRY(AddNote(header, image));
  }
  if (image.segments.empty()) return Bad("nothing to load");
  return image;
}

Result<std::optional<uint32_t>> FindPvhEntry(std::span<const std::byte> notes, uint64_t alignment) {
  ByteReader reader(notes);
  // Padding behind the last descriptor may be missing.
  auto skip = [&](size_t size) -> Result<std::span<const std::byte>> {
    auto bytes = TRY(reader.Bytes(size));
    TRY(reader.Bytes(std::min<size_t>(reader.remaining(), AlignUp(size, alignment) - size)));
    return bytes;
  };
  while (reader.remaining() >= sizeof(Elf64_Nhdr)) {
    uint32_t name_size = TRY(reader.Number<uint32_t>());
    uint32_t value_size = TRY(reader.Number<uint32_t>());
    uint32_t type = TRY(reader.Number<uint32_t>());
    auto name = skip(name_size);
    if (!name) return Bad("a note's name is cut off");
    auto value = skip(value_size);
    if (!value) return Bad("a note's value is cut off");
    if (type != kXenElfNotePhys32Entry || AsText(*name) != kXenName) continue;
    if (value->size() == sizeof(uint32_t))
      return std::optional(LoadLittle<uint32_t>(value->data()));
    if (value->size() != sizeof(uint64_t)) return Bad("the PVH entry has an odd size");
    auto wide = checked_cast<uint32_t>(LoadLittle<uint64_t>(value->data()));
    if (!wide) return Bad("the PVH entry lies above 4 GiB");
    return std::optional(*wide);
  }
  return std::optional<uint32_t>();
}

namespace {

Result<uint32_t> ReadPvhEntry(BorrowedFd file, const KernelImage& image) {
  for (const KernelNote& note : image.notes) {
    std::vector<std::byte> bytes(note.file.size);
    TRY(sys::ReadExactlyAt(file, bytes, static_cast<off_t>(note.file.offset)));
    auto entry = TRY(FindPvhEntry(bytes, note.alignment));
    if (!entry) continue;
    for (const KernelSegment& segment : image.segments)
      if (*entry >= segment.address && *entry - segment.address < segment.file.size) return *entry;
    return Bad("the PVH entry lies in no segment");
  }
  return Bad("no PVH entry: was it built with CONFIG_PVH?");
}

Result<void> LoadSegment(BorrowedFd file, const GuestMemory& memory, const KernelSegment& segment) {
  if (segment.address < kHighMemoryAddress.value)
    return Bad("a segment lies in the first MiB, which is not its");
  auto target = memory.Slice({segment.address}, segment.memory_size);
  if (!target)
    return std::move(target).error().Context("the guest kernel does not fit the guest's memory");
  return sys::ReadExactlyAt(file, target->first(segment.file.size),
                            static_cast<off_t>(segment.file.offset))
      .Context("guest kernel");
}

}  // namespace

Result<LoadedKernel> LoadKernel(BorrowedFd file, const GuestMemory& memory) {
  auto size = static_cast<uint64_t>(TRY(sys::Stat(file).Context("guest kernel")).st_size);
  std::byte head[kElfHeaderSize];
  if (size < sizeof head) return Bad("shorter than an ELF header");
  TRY(sys::ReadExactlyAt(file, head, 0).Context("guest kernel"));
  FileRange where = TRY(ParseElfHeader(head, size));
  std::vector<std::byte> table(where.size);
  TRY(sys::ReadExactlyAt(file, table, static_cast<off_t>(where.offset)).Context("guest kernel"));
  KernelImage image = TRY(ParseSegments(table, size));
  LoadedKernel loaded;
  loaded.entry = TRY(ReadPvhEntry(file, image));
  for (const KernelSegment& segment : image.segments) {
    TRY(LoadSegment(file, memory, segment));
    loaded.end.value = std::max(loaded.end.value, segment.address + segment.memory_size);
  }
  return loaded;
}

Result<GuestRange> LoadInitramfs(BorrowedFd file, const GuestMemory& memory, GuestAddress from) {
  auto size = static_cast<uint64_t>(TRY(sys::Stat(file).Context("guest initramfs")).st_size);
  uint64_t start = TRY(CheckedAdd(from, kPage - 1)).value & ~(kPage - 1);
  GuestRange range{{start}, size};
  auto target = memory.Slice(range.start, size);
  if (!target)
    return std::move(target).error().Context("the initramfs does not fit the guest's memory");
  TRY(sys::ReadExactlyAt(file, *target, 0).Context("guest initramfs"));
  return range;
}

}  // namespace msb::vmm
