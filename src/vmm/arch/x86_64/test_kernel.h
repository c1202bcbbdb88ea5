// SPDX-License-Identifier: Apache-2.0
// TestKernel: an ELF file of one segment and one note, with every field within reach of a test.

#pragma once

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "sys/file.h"

namespace msb::vmm {

class TestKernel {
 public:
  static constexpr uint32_t kAddress = 0x100'0000;
  static constexpr size_t kCodeSize = 100;
  static constexpr size_t kMemorySize = 300;
  static constexpr std::byte kFill{0x90};

  TestKernel() : bytes_(kCodeOffset + kCodeSize, kFill) {
    Elf64_Ehdr head{};
    std::memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    head.e_type = ET_EXEC;
    head.e_machine = EM_X86_64;
    head.e_phoff = sizeof head;
    head.e_phentsize = sizeof(Elf64_Phdr);
    head.e_phnum = 2;
    header() = head;
    load() = {PT_LOAD, 0, kCodeOffset, 0, kAddress, kCodeSize, kMemorySize, 4096};
    note() = {PT_NOTE, 0, kNoteOffset, 0, 0, kNoteSize, kNoteSize, 4};
    SetNote(18, "Xen", kAddress + 8);
  }
  // A kernel whose code is `code`, entered at its first byte.
  explicit TestKernel(std::span<const uint8_t> code) : TestKernel() {
    std::copy_n(code.begin(), std::min(code.size(), kCodeSize),
                reinterpret_cast<uint8_t*>(bytes_.data() + kCodeOffset));
    SetNote(18, "Xen", kAddress);
  }

  Elf64_Ehdr& header() { return At<Elf64_Ehdr>(0); }
  Elf64_Phdr& load() { return At<Elf64_Phdr>(sizeof(Elf64_Ehdr)); }
  Elf64_Phdr& note() { return At<Elf64_Phdr>(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr)); }
  std::vector<std::byte>& bytes() { return bytes_; }

  template <class T>
  void SetNote(uint32_t type, std::string_view name, T value) {
    ByteWriter out;
    out.Number<uint32_t>(4);
    out.Number<uint32_t>(sizeof value);
    out.Number(type);
    out.Bytes(AsBytes(name));
    out.Number<uint8_t>(0);
    out.Number(value);
    std::copy(out.bytes().begin(), out.bytes().end(), bytes_.begin() + kNoteOffset);
    note().p_filesz = out.bytes().size();
  }

  UniqueFd File() const {
    auto file = sys::MemFd("kernel");
    return file.ok() && sys::WriteAll(*file, bytes_).ok() ? std::move(*file) : UniqueFd();
  }

 private:
  static constexpr size_t kNoteOffset = 256, kNoteSize = 24, kCodeOffset = 512;
  template <class T>
  T& At(size_t offset) {
    // SAFETY: offsets are constants within the vector and multiples of 8.
    return *reinterpret_cast<T*>(bytes_.data() + offset);
  }
  std::vector<std::byte> bytes_;
};

}  // namespace msb::vmm
