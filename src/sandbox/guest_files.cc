// SPDX-License-Identifier: Apache-2.0
#include "sandbox/guest_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <string_view>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

constexpr std::string_view kElfMagic =
    "\x7f"
    "ELF";
constexpr std::string_view kCpioMagic = "070701";
constexpr size_t kSmallestKernel = kMiB;
constexpr size_t kSmallestInitramfs = 4 * kKiB;

struct Kind {
  std::string_view name;
  size_t smallest;
  std::string_view magic;
  std::string_view wrong;
  std::string_view recipe;
};

Result<UniqueFd> Open(const Kind& kind, const std::string& path) {
  auto file = sys::OpenAt(sys::Cwd(), path, O_RDONLY);
  if (!file)
    return std::move(file).error().Context(kind.name).Remedy(
        "install the guest's files again (tools/install), or: msb doctor");
  auto info = TRY(sys::Stat(*file));
  if (!S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) < kind.smallest)
    return Error(Code::kDataLoss, Cat(kind.name, " ", path, " is not complete"))
        .Remedy("install the guest's files again (tools/install)");
  std::byte magic[8];
  std::span<std::byte> start = std::span(magic).first(kind.magic.size());
  TRY(sys::ReadExactlyAt(*file, start, 0));
  if (AsText(start) != kind.magic)
    return Error(Code::kDataLoss, Cat(kind.name, " ", path, kind.wrong))
        .Remedy(Cat("build it again: ", kind.recipe));
  return *std::move(file);
}

}  // namespace

Result<UniqueFd> OpenKernel(const std::string& path) {
  return Open(
      {"guest kernel", kSmallestKernel, kElfMagic, " is not an ELF file", "guest/kernel/build"},
      path);
}

Result<UniqueFd> OpenInitramfs(const std::string& path) {
  return Open({"guest initramfs", kSmallestInitramfs, kCpioMagic, " is not a cpio archive",
               "guest/initramfs/build"},
              path);
}

}  // namespace msb::sandbox
