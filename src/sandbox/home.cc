// SPDX-License-Identifier: Apache-2.0
// The home directory, and the programs and guest parts of this installation.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "sandbox/sandboxes.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::sandbox {
namespace {

constexpr const char* kLockProbe = ".locks";

// Two descriptions of one file: what one locks, the other must see. Some network file systems say
// yes to the lock and tell nobody.
Result<void> CheckLocks(BorrowedFd dir) {
  auto open = [&] { return sys::OpenAt(dir, kLockProbe, O_RDWR | O_CREAT | O_NOFOLLOW, 0600); };
  UniqueFd first = TRY(open());
  UniqueFd second = TRY(open());
  auto held = sys::FileLock::TryShared(std::move(first));
  if (!held) return std::move(held).error().Context("locks do not work here");
  // A shared lock stands in the way of an exclusive one.
  auto taken = sys::FileLock::TryExclusive(std::move(second));
  if (!taken) return {};
  return Error(Code::kFailedPrecondition, "locks do not work here: one was given twice");
}

Result<std::string> HomePath() {
  if (auto given = sys::GetEnv("MICROSANDBOX_HOME"); given && !given->empty()) {
    if ((*given)[0] != '/')
      return Error(Code::kInvalidArgument,
                   Cat("MICROSANDBOX_HOME ", Escape(*given), " is not an absolute path"))
          .Remedy("begin it with a slash");
    return *given;
  }
  if (auto home = sys::GetEnv("HOME"); home && !home->empty()) return *home + "/.microsandbox";
  return Error(Code::kFailedPrecondition, "neither MICROSANDBOX_HOME nor HOME is set")
      .Remedy("export MICROSANDBOX_HOME=/some/folder");
}

Result<UniqueFd> OpenHome(const std::string& path) {
  auto opened = sys::OpenAt(sys::Cwd(), path, O_RDONLY | O_DIRECTORY);
  if (opened || opened.error().sys_errno() != ENOENT) return opened;
  return sys::EnsureDirectory(sys::Cwd(), path, 0700);
}

// Whoever may write here chooses the disks that our machines start with and where we write.
Result<void> CheckOwner(BorrowedFd dir) {
  struct stat info = TRY(sys::Stat(dir));
  if (info.st_uid != ::geteuid())
    return Error(Code::kPermissionDenied,
                 Cat("it belongs to user ", info.st_uid, ", not to you (", ::geteuid(), ")"));
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Error(Code::kPermissionDenied, "others may write to it").Remedy("chmod go-w the folder");
  return {};
}

std::string ProgramFolder() {
  auto self = sys::ReadLinkAt(sys::Cwd(), "/proc/self/exe");
  if (!self) return ".";
  return self->substr(0, self->rfind('/'));
}

Result<std::string> FindPart(const std::string& folder, const char* variable, const char* name,
                             std::string_view remedy) {
  if (auto given = sys::GetEnv(variable); given && !given->empty()) {
    if (::access(given->c_str(), R_OK) == 0) return *given;
    return Error::Errno(Cat(variable, ": ", Escape(*given, 256)))
        .Remedy(Cat("name the file ", name, " by it, or unset it"));
  }
  for (const std::string& candidate :
       {Cat(folder, "/", name), Cat(folder, "/../lib/microsandbox/", name)})
    if (::access(candidate.c_str(), R_OK) == 0) return candidate;
  return Error(Code::kNotFound,
               Cat(name, " is neither in ", folder, " nor in ../lib/microsandbox beside it"))
      .Remedy(remedy);
}

}  // namespace

Result<Home> Home::Open() { return OpenFor(true); }
Result<Home> Home::OpenToRead() { return OpenFor(false); }

Result<Home> Home::OpenFor(bool writing) {
  std::string path = TRY(HomePath());
  auto fail = [&](Error error) {
    return std::move(error)
        .Context(Cat("home ", path))
        .Remedy("set MICROSANDBOX_HOME to a folder of yours on a local file system");
  };
  auto dir = OpenHome(path);
  if (!dir) return fail(std::move(dir).error());
  if (auto owner = CheckOwner(*dir); !owner) return fail(std::move(owner).error());
  if (auto locks = writing ? CheckLocks(*dir) : Result<void>(); !locks)
    return fail(std::move(locks).error());
  return Home(std::move(*dir), std::move(path));
}

Result<Parts> FindParts(Isolation isolation) {
  std::string folder = ProgramFolder();
  Parts parts;
  parts.supervisor = TRY(FindPart(folder, "MICROSANDBOX_SUPERVISOR", "msb-supervisor",
                                  "install microsandbox again (tools/install)"));
  if (isolation == Isolation::kProcess) {
    parts.agent = TRY(FindPart(folder, "MICROSANDBOX_AGENT", "msb-agent",
                               "install microsandbox again (tools/install)"));
    return parts;
  }
  parts.vmm = TRY(FindPart(folder, "MICROSANDBOX_VMM", "msb-vmm",
                           "install microsandbox again (tools/install)"));
  parts.kernel = TRY(FindPart(folder, "MICROSANDBOX_KERNEL", "vmlinux",
                              "build the guest's kernel: guest/kernel/build, then tools/install"));
  parts.initramfs = TRY(FindPart(folder, "MICROSANDBOX_INITRAMFS", "initramfs.cpio",
                                 "build the guest's parts: tools/install"));
  return parts;
}

}  // namespace msb::sandbox
