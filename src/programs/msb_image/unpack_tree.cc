// SPDX-License-Identifier: Apache-2.0
// Confine, then write.
#include "programs/msb_image/unpack_tree.h"

#include <linux/capability.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/json_writer.h"
#include "image/rootfs/root_tree.h"
#include "jail/confine.h"
#include "sys/file.h"

namespace msb::image_program {
namespace {

// One for each directory on the way down, and some.
constexpr uint64_t kOpenFiles = rootfs::kMaxTreeDepth + 32;

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }
// Owners as the image has them, in directories whose modes forbid even root's own writing.
constexpr uint64_t kCapabilities =
    Bit(CAP_CHOWN) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) | Bit(CAP_DAC_OVERRIDE);

Result<void> CheckTarget(BorrowedFd tree) {
  if (!TRY(sys::ListDirectory(tree).Context("tree descriptor")).empty())
    return Error(Code::kInvalidArgument, "tree descriptor: the directory is not empty");
  return {};
}

std::string Describe(const rootfs::RootTreeSummary& summary) {
  JsonWriter json;
  json.BeginObject().Key("tree").BeginObject();
  json.Key("files").Number(summary.files);
  json.Key("directories").Number(summary.directories);
  json.Key("symlinks").Number(summary.symlinks);
  json.Key("bytes").Number(summary.bytes);
  json.Key("devices_left_out").Number(summary.devices_left_out);
  json.Key("dropped_xattrs").Number(summary.dropped_xattrs);
  json.EndObject().EndObject();
  return std::move(json).Take() + "\n";
}

}  // namespace

Result<std::string> UnpackTree(const UnpackTreeOptions& options) {
  UniqueFd disk(options.disk_fd), tree(options.tree_fd);
  TRY(CheckTarget(tree));
  // A file-size limit of the caller's shell becomes an error, not a death.
  ::signal(SIGXFSZ, SIG_IGN);
  // Modes are what the disk says.
  ::umask(0);
  bool root = ::geteuid() == 0;
  jail::UnpackerConfinement spec;
  spec.targets = {tree.get()};
  spec.keep_capabilities = root ? kCapabilities : 0;
  spec.open_files = kOpenFiles;
  TRY(jail::ConfineUnpacker(spec));
  auto summary = rootfs::WriteRootTree(
      disk, tree, root ? rootfs::TreeOwners::kOfImage : rootfs::TreeOwners::kCaller);
  if (!summary && summary.error().sys_errno() == ENOSPC)
    return std::move(summary).error().Remedy("make room below MICROSANDBOX_HOME, or run: msb gc");
  return Describe(TRY(std::move(summary)));
}

}  // namespace msb::image_program
