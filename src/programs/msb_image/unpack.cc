// SPDX-License-Identifier: Apache-2.0
// Open, confine, write: in this order.
#include "programs/msb_image/unpack.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <unistd.h>

#include "base/text.h"
#include "jail/confine.h"
#include "programs/msb_image/progress.h"
#include "sys/file.h"

namespace msb::image_program {
namespace {

enum class SourceKind : uint8_t { kDirectory, kTar };

Result<SourceKind> KindOf(BorrowedFd source) {
  struct stat st = TRY(sys::Stat(source));
  if (S_ISDIR(st.st_mode)) return SourceKind::kDirectory;
  if (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) return SourceKind::kTar;
  if (::isatty(source.get()) == 1)
    return Error(Code::kInvalidArgument, "the source is a terminal")
        .Remedy("pipe a tar in: tar -C DIR -c . | msb-image import NAME -");
  return Error(Code::kInvalidArgument, "the source is neither a directory nor a file")
      .Remedy("give a directory, a tar file, or - for a tar on stdin");
}

Result<void> CheckOutput(BorrowedFd output) {
  struct stat st = TRY(sys::Stat(output).Context("output descriptor"));
  int flags = ::fcntl(output.get(), F_GETFL);
  if (!S_ISREG(st.st_mode) || st.st_size != 0 || (flags & O_ACCMODE) != O_RDWR)
    return Error(Code::kInvalidArgument,
                 "output descriptor: must be an empty regular file, open for reading and writing");
  return {};
}

Result<void> Confine(BorrowedFd source, SourceKind kind) {
  jail::UnpackerConfinement spec;
  if (kind == SourceKind::kDirectory) {
    spec.sources = {source.get()};
    // A root that imports a directory reads files of every owner. An ordinary user has none of it.
    spec.keep_capabilities = uint64_t{1} << CAP_DAC_READ_SEARCH;
  }
  TRY(jail::ConfineUnpacker(spec));
  return {};
}

}  // namespace

Result<UniqueFd> OpenSource(const std::string& source) {
  if (source == "-") return sys::Duplicate(BorrowedFd::Raw(STDIN_FILENO));
  return sys::OpenAt(sys::Cwd(), source, O_RDONLY);
}

Result<rootfs::RootDiskSummary> Unpack(const UnpackOptions& options) {
  UniqueFd output(options.output_fd);
  UniqueFd source(options.source_fd);
  if (options.source_fd < 0) source = TRY(OpenSource(options.source));
  TRY(CheckOutput(output));
  SourceKind kind = TRY(KindOf(source));
  // A file-size limit of the caller's shell becomes an error, not a death.
  ::signal(SIGXFSZ, SIG_IGN);
  Progress progress("unpack", options.quiet);
  TRY(Confine(source, kind));

  uint64_t last = 0;
  rootfs::RootDiskOptions how;
  how.progress = [&](uint64_t input_bytes) -> Result<void> {
    last = input_bytes;
    progress.Update(input_bytes);
    return {};
  };
  auto summary = kind == SourceKind::kDirectory
                     ? rootfs::WriteRootDiskFromDirectory(source, output, std::move(how))
                     : rootfs::WriteRootDiskFromTar(source, output, std::move(how));
  progress.Finish(summary ? summary->input_bytes : last);
  if (!summary && summary.error().sys_errno() == ENOSPC)
    return std::move(summary).Remedy("make room on the file system of the output, or run: msb gc");
  return summary;
}

}  // namespace msb::image_program
