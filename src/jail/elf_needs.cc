// SPDX-License-Identifier: Apache-2.0
// Reads ELF dynamic sections (ELF-64, System V ABI chapter 5) and the loader's cache (glibc's
// dl-cache.h, format "glibc-ld.so.cache1.1").

#include "jail/elf_needs.h"

#include <elf.h>

#include <cstring>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::jail {
namespace {

constexpr size_t kMaxSegments = 64;
constexpr size_t kMaxDynamic = 4096;
constexpr size_t kMaxName = 4096;

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr int32_t kCacheFlags = 0x0303;  // FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr int32_t kCacheFlags = 0x0a03;  // FLAG_ELF_LIBC6 | FLAG_AARCH64_LIB64
#endif

Error Malformed(std::string_view what) {
  return Error(Code::kInvalidArgument, Cat("not a usable ELF file: ", what));
}

template <class T>
Result<T> At(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return Malformed("truncated");
  return LoadLittle<T>(bytes.data() + offset);
}

Result<std::string_view> TextAt(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset >= bytes.size()) return Malformed("text lies outside");
  std::string_view rest = AsText(bytes.subspan(offset)).substr(0, kMaxName);
  size_t end = rest.find('\0');
  if (end == std::string_view::npos) return Malformed("endless text");
  return rest.substr(0, end);
}

class Image {
 public:
  static Result<Image> Open(std::span<const std::byte> file) {
    Image image(file);
    auto header = TRY(At<Elf64_Ehdr>(file, 0));
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Malformed("no ELF magic");
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != kMachine)
      return Malformed("another architecture");
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMaxSegments)
      return Malformed("program headers");
    for (size_t i = 0; i < header.e_phnum; i++) {
      uint64_t offset = TRY(CheckedSum(header.e_phoff, i * sizeof(Elf64_Phdr)));
      image.segments_.push_back(TRY(At<Elf64_Phdr>(file, offset)));
    }
    return image;
  }

  const Elf64_Phdr* Find(uint32_t type) const {
    for (const Elf64_Phdr& segment : segments_)
      if (segment.p_type == type) return &segment;
    return nullptr;
  }

  // Where in the file an address of the loaded program lies.
  Result<uint64_t> OffsetOf(uint64_t address) const {
    for (const Elf64_Phdr& segment : segments_)
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
          address - segment.p_vaddr < segment.p_filesz)
        return CheckedSum(segment.p_offset, address - segment.p_vaddr);
    return Malformed("address outside all segments");
  }

  std::span<const std::byte> file() const { return file_; }

  static Result<uint64_t> CheckedSum(uint64_t a, uint64_t b) {
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return Malformed("offset");
    return sum;
  }

 private:
  explicit Image(std::span<const std::byte> file) : file_(file) {}
  std::span<const std::byte> file_;
  std::vector<Elf64_Phdr> segments_;
};

Result<std::vector<Elf64_Dyn>> DynamicSection(const Image& image) {
  std::vector<Elf64_Dyn> entries;
  const Elf64_Phdr* segment = image.Find(PT_DYNAMIC);
  if (segment == nullptr) return entries;
  size_t count = segment->p_filesz / sizeof(Elf64_Dyn);
  if (count > kMaxDynamic) return Malformed("dynamic section");
  for (size_t i = 0; i < count; i++) {
    uint64_t offset = TRY(Image::CheckedSum(segment->p_offset, i * sizeof(Elf64_Dyn)));
    auto entry = TRY(At<Elf64_Dyn>(image.file(), offset));
    if (entry.d_tag == DT_NULL) break;
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

Result<ElfNeeds> ParseElfNeeds(std::span<const std::byte> file) {
  ElfNeeds needs;
  Image image = TRY(Image::Open(file));
  if (const Elf64_Phdr* segment = image.Find(PT_INTERP))
    needs.interpreter = TRY(TextAt(file, segment->p_offset));
  auto dynamic = TRY(DynamicSection(image));
  uint64_t strings = 0;
  for (const Elf64_Dyn& entry : dynamic)
    if (entry.d_tag == DT_STRTAB) strings = TRY(image.OffsetOf(entry.d_un.d_ptr));
  for (const Elf64_Dyn& entry : dynamic) {
    if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RUNPATH && entry.d_tag != DT_RPATH) continue;
    if (strings == 0) return Malformed("no string table");
    auto text = TRY(TextAt(file, TRY(Image::CheckedSum(strings, entry.d_un.d_val))));
    if (entry.d_tag == DT_NEEDED) {
      needs.needed.emplace_back(text);
      continue;
    }
    for (std::string& directory : Split(text, ':'))
      if (directory.starts_with('/')) needs.runpath.push_back(std::move(directory));
  }
  return needs;
}

Result<std::vector<CachedLibrary>> ParseLoaderCache(std::span<const std::byte> cache) {
  constexpr std::string_view kMagic = "glibc-ld.so.cache1.1";
  constexpr size_t kHeaderSize = 48, kEntrySize = 24;
  // An older table may come first; offsets count from the newer one's start.
  size_t start = AsText(cache).find(kMagic);
  if (start == std::string_view::npos) return Malformed("ld.so.cache of an unknown format");
  cache = cache.subspan(start);
  auto count = TRY(At<uint32_t>(cache, kMagic.size()));
  if (cache.size() < kHeaderSize || count > (cache.size() - kHeaderSize) / kEntrySize)
    return Malformed("truncated ld.so.cache");
  std::vector<CachedLibrary> libraries;
  for (uint32_t i = 0; i < count; i++) {
    const std::byte* entry = cache.data() + kHeaderSize + i * kEntrySize;
    bool plain = LoadLittle<uint64_t>(entry + 16) == 0;
    if (LoadLittle<int32_t>(entry) != kCacheFlags || !plain) continue;
    CachedLibrary& library = libraries.emplace_back();
    library.name = TRY(TextAt(cache, LoadLittle<uint32_t>(entry + 4)));
    library.path = TRY(TextAt(cache, LoadLittle<uint32_t>(entry + 8)));
  }
  return libraries;
}

}  // namespace msb::jail
