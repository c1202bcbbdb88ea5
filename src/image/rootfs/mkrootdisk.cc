// SPDX-License-Identifier: Apache-2.0
// A test helper: msb-mkrootdisk OUT (TAR|DIRECTORY|-)... Several inputs are OCI layers, lowest
// first.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "image/rootfs/root_disk.h"
#include "sys/file.h"

namespace msb {
namespace {

Result<rootfs::RootDiskSummary> Run(int argc, char** argv) {
  UniqueFd out = TRY(sys::OpenAt(sys::Cwd(), argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644));
  rootfs::RootDiskBuilder builder = TRY(rootfs::RootDiskBuilder::Create(out, {}));
  rootfs::TarKind kind = argc > 3 ? rootfs::TarKind::kLayer : rootfs::TarKind::kPlain;
  for (int i = 2; i < argc; ++i) {
    if (std::string_view(argv[i]) == "-") {
      TRY(builder.AddTar(BorrowedFd::Raw(0), kind));
      continue;
    }
    UniqueFd in = TRY(sys::OpenAt(sys::Cwd(), argv[i], O_RDONLY));
    if (S_ISDIR(TRY(sys::Stat(in)).st_mode))
      TRY(builder.AddDirectory(in));
    else
      TRY(builder.AddTar(in, kind));
  }
  return std::move(builder).Finish();
}

}  // namespace
}  // namespace msb

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: msb-mkrootdisk OUT (TAR|DIRECTORY|-)...\n");
    return 2;
  }
  auto summary = msb::Run(argc, argv);
  if (!summary) {
    std::fprintf(stderr, "msb-mkrootdisk: %s\n", summary.error().message().c_str());
    return 1;
  }
  std::printf(
      "{\"image_bytes\":%llu,\"input_bytes\":%llu,\"files\":%llu,\"directories\":%llu,"
      "\"symlinks\":%llu,\"special_files\":%llu,\"extra_hard_links\":%llu,"
      "\"overwritten_bytes\":%llu,\"dropped_xattrs\":%llu}\n",
      static_cast<unsigned long long>(summary->image_bytes),
      static_cast<unsigned long long>(summary->input_bytes),
      static_cast<unsigned long long>(summary->files),
      static_cast<unsigned long long>(summary->directories),
      static_cast<unsigned long long>(summary->symlinks),
      static_cast<unsigned long long>(summary->special_files),
      static_cast<unsigned long long>(summary->extra_hard_links),
      static_cast<unsigned long long>(summary->overwritten_bytes),
      static_cast<unsigned long long>(summary->dropped_xattrs));
  return 0;
}
