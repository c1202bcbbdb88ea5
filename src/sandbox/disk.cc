// SPDX-License-Identifier: Apache-2.0
// Templates and copies. A template appears by one linkat() of a file without a name, so a maker
// that is killed leaves nothing.

#include "sandbox/disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "sys/file.h"
#include "sys/mapping.h"
#include "sys/process.h"

namespace msb::sandbox {
namespace {

// Part of the template's name: a change of the options below needs a new one.
constexpr int kTemplateVersion = 1;
// A machine that cannot write this much has no use for its disk.
constexpr uint64_t kLeastFree = 32 * kMiB;
constexpr auto kMakeTimeout = std::chrono::seconds(60);
constexpr auto kGatePatience = std::chrono::seconds(30);
constexpr time_t kOneDay = 24 * 3600;
constexpr time_t kTemplateLife = 30 * kOneDay;

std::string FindMke2fs() {
  for (const char* folder : {"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"}) {
    std::string path = Cat(folder, "/mke2fs");
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

// Options: no journal, for nothing is ever recovered; nothing written that a sparse file has
// already (assume_storage_prezeroed: the guest need not zero inode tables in the background); one
// inode for 8 KiB, because people install thousands of small files.
Result<void> RunMke2fs(BorrowedFd file, uint64_t size_bytes) {
  std::string program = FindMke2fs();
  if (program.empty())
    return Error(Code::kFailedPrecondition, "mke2fs is not installed: no writable disk without it")
        .Remedy("apt-get install e2fsprogs");
  constexpr int kNumber = 3;
  UniqueFd said = TRY(sys::MemFd("mke2fs"));
  UniqueFd null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  auto child = TRY(sys::Spawn({
      .argv = {program, "-q", "-F", "-t", "ext4", "-b", "4096", "-i", "8192", "-I", "256", "-m",
               "0", "-O", "^has_journal,^resize_inode,^metadata_csum,uninit_bg", "-E",
               "lazy_itable_init=1,assume_storage_prezeroed=1,nodiscard,root_owner=0:0",
               Cat("/proc/self/fd/", kNumber), Cat(size_bytes / 4096)},
      .program = {},
      // Its configuration file could undo the options.
      .env = {"MKE2FS_CONFIG=/dev/null", "LC_ALL=C"},
      .workdir = {},
      .fds = {{null.get(), 0}, {null.get(), 1}, {said.get(), 2}, {file.get(), kNumber}},
      .die_with_parent = true,
  }));
  auto status = TRY(child.Wait(Deadline::After(kMakeTimeout)).Context(program));
  if (status == sys::ExitStatus{}) return {};
  std::string complaint(4096, '\0');
  complaint.resize(TRY(sys::ReadSomeAt(said, std::as_writable_bytes(std::span(complaint)), 0)));
  return Error(Code::kInternal, Cat(program, " failed: ", Escape(complaint, 400)));
}

// A template that is not what mke2fs made is removed, and so is made anew.
Result<UniqueFd> OpenTemplate(BorrowedFd cache, const std::string& name, uint64_t size_bytes) {
  UniqueFd file = TRY(sys::OpenAt(cache, name, O_RDONLY | O_NOFOLLOW));
  struct stat info = TRY(sys::Stat(file));
  std::byte magic[2] = {};
  // The superblock's magic (Documentation/filesystems/ext4/super.rst): 0xEF53 at 1024 + 0x38.
  if (S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) == size_bytes &&
      sys::ReadExactlyAt(file, magic, 1024 + 0x38) && LoadLittle<uint16_t>(magic) == 0xef53)
    return file;
  TRY(sys::RemoveTreeAt(cache, name));
  return Error::Errno("the template was damaged", ENOENT);
}

Result<sys::FileLock> PassCacheGate(BorrowedFd cache) {
  return sys::FileLock::WaitExclusive(
             TRY(sys::OpenAt(cache, ".gate", O_RDWR | O_CREAT | O_NOFOLLOW, 0600)),
             Deadline::After(kMakeTimeout + kGatePatience))
      .Context("lock cache/.gate");
}

// Its time of change says when it was last used; one day is exact enough, and spares the write.
void NoteUse(BorrowedFd file) {
  auto info = sys::Stat(file);
  if (info && ::time(nullptr) - info->st_mtime > kOneDay) (void)sys::Touch(file);
}

Result<UniqueFd> MakeTemplate(BorrowedFd cache, const std::string& name, uint64_t size_bytes) {
  // One maker at a time: the others wait and find it done.
  auto gate = TRY(PassCacheGate(cache));
  auto made = OpenTemplate(cache, name, size_bytes);
  if (made || made.error().sys_errno() != ENOENT) return made;
  UniqueFd file = TRY(sys::UnnamedFile(cache));
  TRY(sys::Truncate(file, static_cast<off_t>(size_bytes)));
  TRY(RunMke2fs(file, size_bytes));
  TRY(sys::Sync(file));
  TRY(sys::NameFile(file, cache, name));
  return OpenTemplate(cache, name, size_bytes);
}

Result<void> CopyRange(BorrowedFd from, BorrowedFd to, off_t at, off_t end) {
  std::vector<std::byte> buffer(256 * 1024);
  while (at < end) {
    size_t want = std::min<size_t>(buffer.size(), static_cast<size_t>(end - at));
    auto piece = std::span(buffer).first(want);
    TRY(sys::ReadExactlyAt(from, piece, at));
    TRY(sys::WriteAllAt(to, piece, at));
    at += static_cast<off_t>(want);
  }
  return {};
}

// An overlay answers statfs() with its own type, and its upper layer may be a mount that nobody
// here can see. So a hole is read: a file system of a disk keeps the page of zeros in the page
// cache, for the next reader; tmpfs, whose files are the page cache, answers from the kernel's one
// page of zeros and keeps nothing (mm/shmem.c, SGP_READ). An overlay maps the file of its upper
// layer, so mincore() (man 2 mincore) tells what that one keeps.
Result<bool> KeepsNoPageOfAHole(BorrowedFd file) {
  constexpr off_t kPage = 4096;
  auto size = TRY(sys::Stat(file)).st_size;
  off_t hole = ::lseek(file.get(), 0, SEEK_HOLE);
  if (hole == -1) return Error::Errno("lseek SEEK_HOLE");
  hole = (hole + kPage - 1) / kPage * kPage;
  // Without holes of its own it is no tmpfs.
  if (hole + kPage > size) return false;
  std::array<std::byte, kPage> zeros = {};
  TRY(sys::ReadExactlyAt(file, zeros, hole));
  auto page = TRY(sys::MapFile(file, zeros.size(), hole, PROT_READ, MAP_SHARED));
  unsigned char resident = 0;
  if (::mincore(page.bytes().data(), zeros.size(), &resident) == -1) return Error::Errno("mincore");
  return (resident & 1) == 0;
}

}  // namespace

Result<bool> LiesInMemory(BorrowedFd disk) {
  struct statfs info {};
  if (::fstatfs(disk.get(), &info) == -1) return Error::Errno("fstatfs");
  if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) return true;
  if (info.f_type != OVERLAYFS_SUPER_MAGIC) return false;
  return KeepsNoPageOfAHole(disk);
}

Result<void> CopySparse(BorrowedFd from, BorrowedFd to, uint64_t size_bytes) {
  if (::ioctl(to.get(), FICLONE, from.get()) == 0) return {};
  auto size = static_cast<off_t>(size_bytes);
  TRY(sys::Truncate(to, size));
  off_t at = 0;
  while (at < size) {
    off_t data = ::lseek(from.get(), at, SEEK_DATA);
    if (data == -1 && errno == ENXIO) break;
    if (data == -1) return Error::Errno("lseek SEEK_DATA");
    off_t hole = ::lseek(from.get(), data, SEEK_HOLE);
    if (hole == -1) return Error::Errno("lseek SEEK_HOLE");
    TRY(CopyRange(from, to, data, std::min(hole, size)));
    at = hole;
  }
  return {};
}

Result<void> CheckFreeSpace(BorrowedFd dir, uint64_t storage_bytes) {
  struct statvfs info {};
  if (::fstatvfs(dir.get(), &info) == -1) return Error::Errno("statvfs");
  uint64_t free = uint64_t{info.f_bavail} * info.f_frsize;
  if (free >= std::min(storage_bytes, kLeastFree)) return {};
  return Error(Code::kResourceExhausted,
               Cat("host storage full: ", FormatSize(free), " free where sandboxes live"))
      .Remedy("free some space, or set MICROSANDBOX_HOME to a larger file system");
}

Result<UniqueFd> MakeDisk(BorrowedFd cache, BorrowedFd near, uint64_t size_bytes) {
  // Whole blocks: QEMU refuses a disk that ends within a sector.
  size_bytes -= size_bytes % 4096;
  TRY(CheckFreeSpace(near, size_bytes));
  std::string name = Cat("ext4-", size_bytes, "-", kTemplateVersion, ".img");
  auto made = OpenTemplate(cache, name, size_bytes);
  if (!made && made.error().sys_errno() == ENOENT) made = MakeTemplate(cache, name, size_bytes);
  UniqueFd from = TRY(std::move(made).Context("disk template"));
  NoteUse(from);
  UniqueFd disk = TRY(sys::UnnamedFile(near));
  TRY(CopySparse(from, disk, size_bytes).Context("copy the disk template"));
  return disk;
}

Result<std::vector<std::string>> CollectTemplates(BorrowedFd cache) {
  std::vector<std::string> removed;
  // Nobody is about to open one by a name that he has just seen.
  auto gate = TRY(PassCacheGate(cache));
  for (const std::string& name : TRY(sys::ListDirectory(cache))) {
    if (!name.starts_with("ext4-") || !name.ends_with(".img")) continue;
    auto info = TRY(sys::FindAt(cache, name));
    if (!info || !S_ISREG(info->st_mode) || ::time(nullptr) - info->st_mtime <= kTemplateLife)
      continue;
    TRY(sys::UnlinkAt(cache, name));
    removed.push_back(name);
  }
  return removed;
}

}  // namespace msb::sandbox
