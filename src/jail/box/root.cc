// SPDX-License-Identifier: Apache-2.0
// The sandbox's root: between clone and exec, system calls only.
//
// The tree below is hostile: everything in it is reached by RawOpenIn() from the root's descriptor,
// which follows links but never out of the root. Mounts are made detached, sealed, and then
// attached upon an open descriptor, so no name is looked up twice.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "jail/box/plan.h"
#include "sys/mount.h"

namespace msb::box {
namespace {

using sys::kMountNoDevices;
using sys::kMountNoExec;
using sys::kMountNoSetuid;
using sys::kMountReadOnly;

constexpr uint64_t kNothing = kMountNoSetuid | kMountNoDevices | kMountNoExec;

// Parts of /proc that tell of the host or reach it: hidden behind /dev/null or an empty directory,
// where they are not closed to the sandbox anyhow.
constexpr const char* kHiddenFiles[] = {
    "kcore",      "keys",       "latency_stats", "timer_list",  "sched_debug",
    "interrupts", "kpagecount", "kpageflags",    "kpagecgroup", "vmallocinfo",
    "slabinfo",   "kallsyms",   "sysrq-trigger"};
constexpr const char* kHiddenDirectories[] = {"acpi", "asound", "scsi"};
// To be read, not written.
constexpr const char* kSealedTrees[] = {"sys", "irq", "bus", "fs"};
constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};

class Builder {
 public:
  Builder(const Plan& plan, std::span<const int> trees, jail::Init& init)
      : plan_(plan), trees_(trees), init_(init) {}
  void Run();

 private:
  void Check(Step step, long rc, uint32_t index = 0) { init_.Check(step, rc, index); }
  int NextTree() { return next_tree_ < trees_.size() ? trees_[next_tree_++] : -1; }

  int OpenDirectory(Step step, const char* path, mode_t mode, uint32_t index = 0);
  int OpenFile(const char* path, uint32_t index);
  int Place(Step step, int mount, const char* path, mode_t mode);
  void MakeStorage();
  int RootTree();
  int Overlay(int lower);
  void MakeProc();
  void MakeSys();
  void MakeDev();
  void Furnish(int directory, int lower);
  void AddBinds();
  void AddMemories();
  void AddLinks();
  int Copy(Step step, int mount);
  void HideFile(Step step, int directory, const char* name);
  void HideDirectory(Step step, int directory, const char* name);

  const Plan& plan_;
  std::span<const int> trees_;
  jail::Init& init_;
  size_t next_tree_ = 0;
  int storage_ = -1;
  int root_ = -1;
  int null_ = -1;   // Attached somewhere, to be copied; -1: there is none.
  int empty_ = -1;  // The same.
};

// A directory beneath the root, made where it is missing.
int Builder::OpenDirectory(Step step, const char* path, mode_t mode, uint32_t index) {
  int at = ::fcntl(root_, F_DUPFD_CLOEXEC, jail::kFirstInitFd);
  Check(step, at, index);
  char part[PATH_MAX];
  size_t length = std::strlen(path);
  if (length >= sizeof part) {
    errno = ENAMETOOLONG;
    Check(step, -1, index);
  }
  size_t begin = 0;
  for (size_t i = 0; i <= length; i++) {
    if (i != length && path[i] != '/') continue;
    size_t name = begin;
    begin = i + 1;
    if (i == name) continue;
    std::memcpy(part, path, i);
    part[i] = '\0';
    int next = sys::RawOpenIn(root_, part, O_PATH | O_DIRECTORY);
    if (next == -1 && errno == ENOENT) {
      Check(step, ::mkdirat(at, part + name, mode), index);
      next = ::openat(at, part + name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    Check(step, next, index);
    ::close(at);
    at = next;
  }
  return at;
}

// A file to mount upon, made where nothing is.
int Builder::OpenFile(const char* path, uint32_t index) {
  int found = sys::RawOpenIn(root_, path, O_PATH);
  if (found != -1) return found;
  if (errno != ENOENT) Check(Step::kBindTarget, -1, index);
  const char* slash = std::strrchr(path, '/');
  char parent[PATH_MAX] = "";
  const char* name = path;
  if (slash != nullptr) {
    auto length = static_cast<size_t>(slash - path);
    if (length >= sizeof parent) {
      errno = ENAMETOOLONG;
      Check(Step::kBindTarget, -1, index);
    }
    std::memcpy(parent, path, length);
    parent[length] = '\0';
    name = slash + 1;
  }
  int directory = OpenDirectory(Step::kBindTarget, parent, 0755, index);
  int made = ::openat(directory, name, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0644);
  Check(Step::kBindTarget, made, index);
  ::close(directory);
  return made;
}

// Attaches at `path`, making the directory; returns `mount`, which is now there.
int Builder::Place(Step step, int mount, const char* path, mode_t mode) {
  Check(step, mount);
  int at = OpenDirectory(step, path, mode);
  Check(step, sys::RawAttachMount(mount, at));
  ::close(at);
  return mount;
}

void Builder::MakeStorage() {
  Check(Step::kPrivateMounts, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  const sys::MountOption options[] = {
      {"size", plan_.storage}, {"mode", "0755"}, {"nr_inodes", "1000000"}};
  storage_ = sys::RawNewFilesystem("tmpfs", options, kMountNoSetuid | kMountNoDevices);
  Check(Step::kStorage, storage_);
  // Laid over "/": lookups still start in the host's root below it until pivot_root().
  Check(Step::kStorage, sys::RawMoveMount(storage_, AT_FDCWD, "/"));
  Check(Step::kStorage, ::fchdir(storage_));
}

// The directory, or the host's root, as a detached mount.
int Builder::RootTree() {
  if (plan_.root_sent) return NextTree();
  const char* path = plan_.root == RootKind::kHost ? "/" : plan_.root_directory;
  return sys::RawOpenTree(AT_FDCWD, path, true);
}

// Layers are named relative to the working directory, the storage: no option has a path of a user
// in it, whose commas and colons would mean something.
int Builder::Overlay(int lower) {
  Check(Step::kRootTree,
        sys::RawSetMountAttributes(lower, kMountReadOnly | kMountNoSetuid | kMountNoDevices, true));
  for (const char* name : {"lower", "upper", "work", "root"})
    Check(Step::kStorage, ::mkdirat(storage_, name, 0755));
  Check(Step::kRootTree, sys::RawMoveMount(lower, storage_, "lower"));
  int upper = ::openat(storage_, "upper", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Check(Step::kStorage, upper);
  Furnish(upper, lower);
  ::close(upper);
  // What the lower tree says in overlay's own attributes must not redirect a lookup.
  const sys::MountOption options[] = {{"lowerdir", "lower"}, {"upperdir", "upper"},
                                      {"workdir", "work"},   {"redirect_dir", "nofollow"},
                                      {"metacopy", "off"},   {"index", "off"},
                                      {"xino", "off"},       {"userxattr", nullptr}};
  int overlay = sys::RawNewFilesystem("overlay", options, kMountNoSetuid | kMountNoDevices);
  if (overlay == -1 && errno == EINVAL && !plan_.own_users) {
    overlay = sys::RawNewFilesystem("overlay", std::span(options).first(7),
                                    kMountNoSetuid | kMountNoDevices);
  }
  Check(Step::kOverlay, overlay);
  Check(Step::kOverlay, sys::RawMoveMount(overlay, storage_, "root"));
  ::close(lower);
  return overlay;
}

// What hides is sealed once: a copy of a mount that is in our namespace has its attributes, and of
// a file system its superblock, which is the dear part of it.
int Builder::Copy(Step step, int mount) {
  int copy = sys::RawCopyMount(mount);
  Check(step, copy);
  return copy;
}

void Builder::HideFile(Step step, int directory, const char* name) {
  // Most of them are for the host's root alone, and no id inside is his: what we may neither read
  // nor write, being root inside with every capability that there is, nobody here may.
  if (::faccessat(directory, name, R_OK, 0) == -1 && ::faccessat(directory, name, W_OK, 0) == -1)
    return;
  int file = ::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (file == -1 && errno == ENOENT) return;
  Check(step, file);
  int null = null_;
  if (null_ != -1) {
    null = Copy(step, null_);
  } else {
    null_ = null = sys::RawOpenTree(AT_FDCWD, "/dev/null", false);
    Check(step, null);
    Check(step,
          sys::RawSetMountAttributes(null, kMountNoSetuid | kMountNoExec | kMountReadOnly, false));
  }
  Check(step, sys::RawAttachMount(null, file));
  if (null != null_) ::close(null);
  ::close(file);
}

void Builder::HideDirectory(Step step, int directory, const char* name) {
  int there = ::openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (there == -1 && errno == ENOENT) return;
  Check(step, there);
  int empty = empty_;
  if (empty_ != -1) {
    empty = Copy(step, empty_);
  } else {
    const sys::MountOption options[] = {{"size", "4k"}, {"nr_inodes", "2"}, {"mode", "0555"}};
    empty_ = empty = sys::RawNewFilesystem("tmpfs", options, kNothing | kMountReadOnly);
    Check(step, empty);
  }
  Check(step, sys::RawAttachMount(empty, there));
  if (empty != empty_) ::close(empty);
  ::close(there);
}

void Builder::MakeProc() {
  int proc = Place(Step::kProc, sys::RawNewFilesystem("proc", {}, kNothing), "proc", 0555);
  for (const char* name : kHiddenFiles) HideFile(Step::kProcWall, proc, name);
  for (const char* name : kHiddenDirectories) HideDirectory(Step::kProcWall, proc, name);
  for (const char* name : kSealedTrees) {
    int tree = sys::RawOpenTree(proc, name, true);
    if (tree == -1 && errno == ENOENT) continue;
    Check(Step::kProcWall, tree);
    Check(Step::kProcWall, sys::RawSetMountAttributes(tree, kNothing | kMountReadOnly, true));
    Check(Step::kProcWall, sys::RawMoveMount(tree, proc, name));
    ::close(tree);
  }
  ::close(proc);
}

// A new one where the network namespace is ours, which is the kernel's condition; else the host's.
void Builder::MakeSys() {
  int sys = plan_.own_network ? sys::RawNewFilesystem("sysfs", {}, kNothing | kMountReadOnly)
                              : sys::RawOpenTree(AT_FDCWD, "/sys", true);
  Check(Step::kSys, sys);
  if (!plan_.own_network)
    Check(Step::kSys, sys::RawSetMountAttributes(sys, kNothing | kMountReadOnly, true));
  sys = Place(Step::kSys, sys, "sys", 0555);
  HideDirectory(Step::kSys, sys, "firmware");
  int virtual_devices = ::openat(sys, "devices/virtual", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (virtual_devices != -1) {
    HideDirectory(Step::kSys, virtual_devices, "powercap");
    ::close(virtual_devices);
  }
  ::close(sys);
}

void Builder::MakeDev() {
  const sys::MountOption options[] = {{"size", "64k"}, {"nr_inodes", "64"}, {"mode", "0755"}};
  int dev =
      Place(Step::kDev, sys::RawNewFilesystem("tmpfs", options, kMountNoSetuid | kMountNoExec),
            "dev", 0755);
  for (uint32_t i = 0; i < std::size(kDevices); i++) {
    char path[32] = "/dev/";
    std::strcat(path, kDevices[i]);
    int tree = sys::RawOpenTree(AT_FDCWD, path, false);
    Check(Step::kDev, tree, i);
    int file = ::openat(dev, kDevices[i], O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0666);
    Check(Step::kDev, file, i);
    Check(Step::kDev, sys::RawSetMountAttributes(tree, kMountNoSetuid | kMountNoExec, false), i);
    Check(Step::kDev, sys::RawAttachMount(tree, file), i);
    ::close(tree);
    ::close(file);
  }
  auto below = [&](const char* name, int mount) {
    Check(Step::kDev, mount);
    Check(Step::kDev, ::mkdirat(dev, name, 0755));
    Check(Step::kDev, sys::RawMoveMount(mount, dev, name));
    ::close(mount);
  };
  const sys::MountOption pts[] = {{"newinstance", nullptr},
                                  {"ptmxmode", "0666"},
                                  {"mode", "0620"},
                                  {"gid", plan_.terminal_group}};
  below("pts", sys::RawNewFilesystem("devpts", pts, kMountNoSetuid | kMountNoExec));
  const sys::MountOption shm[] = {{"size", "64m"}, {"nr_inodes", "10000"}, {"mode", "1777"}};
  below("shm", sys::RawNewFilesystem("tmpfs", shm, kNothing));
  below("mqueue", sys::RawNewFilesystem("mqueue", {}, kNothing));
  constexpr struct {
    const char *name, *target;
  } kLinks[] = {{"ptmx", "pts/ptmx"},
                {"fd", "/proc/self/fd"},
                {"stdin", "/proc/self/fd/0"},
                {"stdout", "/proc/self/fd/1"},
                {"stderr", "/proc/self/fd/2"}};
  for (const auto& link : kLinks) Check(Step::kDev, ::symlinkat(link.target, dev, link.name));
  ::close(dev);
}

// Directories and files that every sandbox has, in `directory`: an empty root itself, or the upper
// layer, where they cover whatever a hostile tree has in their places. `lower`: that tree, or -1.
void Builder::Furnish(int directory, int lower) {
  for (const char* name : {"proc", "sys", "dev", "etc", "tmp"})
    Check(Step::kTemporary, ::mkdirat(directory, name, 0755));
  Check(Step::kTemporary, ::fchmodat(directory, "tmp", 01777, 0));
  for (uint32_t i = 0; i < plan_.files.size(); i++) {
    const PlannedFile& file = plan_.files[i];
    if (file.only_if_missing && lower != -1) {
      int there = sys::RawOpenIn(lower, file.path, O_PATH | O_NOFOLLOW);
      if (there != -1) {
        ::close(there);
        continue;
      }
    }
    int fd = ::openat(directory, file.path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    Check(Step::kEtc, fd, i);
    size_t size = std::strlen(file.text);
    auto written = static_cast<size_t>(::write(fd, file.text, size));
    Check(Step::kEtc, written == size ? 0 : -1, i);
    ::close(fd);
  }
}

void Builder::AddBinds() {
  for (uint32_t i = 0; i < plan_.binds.size(); i++) {
    const PlannedBind& bind = plan_.binds[i];
    int tree = bind.sent ? NextTree() : sys::RawOpenTree(AT_FDCWD, bind.source, true);
    Check(Step::kBindSource, tree, i);
    uint64_t seal = kMountNoSetuid | kMountNoDevices | (bind.writable ? 0 : kMountReadOnly);
    Check(Step::kBindSource, sys::RawSetMountAttributes(tree, seal, true), i);
    int at = bind.directory ? OpenDirectory(Step::kBindTarget, bind.target, 0755, i)
                            : OpenFile(bind.target, i);
    Check(Step::kBindAttach, sys::RawAttachMount(tree, at), i);
    ::close(at);
    ::close(tree);
  }
}

void Builder::AddMemories() {
  for (uint32_t i = 0; i < plan_.memories.size(); i++) {
    const sys::MountOption options[] = {
        {"size", plan_.memories[i].size}, {"mode", "1777"}, {"nr_inodes", "100000"}};
    int memory = sys::RawNewFilesystem("tmpfs", options, kMountNoSetuid | kMountNoDevices);
    Check(Step::kMemory, memory, i);
    int at = OpenDirectory(Step::kMemory, plan_.memories[i].target, 0755, i);
    Check(Step::kMemory, sys::RawAttachMount(memory, at), i);
    ::close(at);
    ::close(memory);
  }
}

void Builder::AddLinks() {
  for (uint32_t i = 0; i < plan_.links.size(); i++) {
    const PlannedLink& link = plan_.links[i];
    int directory = OpenDirectory(Step::kLinks, link.directory, 0755, i);
    Check(Step::kLinks, ::symlinkat(link.target, directory, link.name), i);
    ::close(directory);
  }
}

void Builder::Run() {
  // Before the storage lies over "/": a copy of the host's tree would have it too.
  int tree = plan_.root == RootKind::kEmpty ? -1 : RootTree();
  if (plan_.root != RootKind::kEmpty) Check(Step::kRootTree, tree);
  MakeStorage();
  switch (plan_.root) {
    case RootKind::kEmpty:
      root_ = storage_;
      Furnish(root_, -1);
      break;
    case RootKind::kDirectory:
      root_ = Overlay(tree);
      break;
    case RootKind::kHost:
      root_ = tree;
      Check(Step::kRootTree,
            sys::RawSetMountAttributes(root_, kMountNoSetuid | kMountNoDevices, true));
      Check(Step::kRootTree, ::mkdirat(storage_, "root", 0755));
      Check(Step::kRootTree, sys::RawMoveMount(root_, storage_, "root"));
      break;
  }
  MakeProc();
  MakeSys();
  MakeDev();
  AddBinds();
  AddMemories();
  AddLinks();
  for (int hiding : {null_, empty_})
    if (hiding != -1) ::close(hiding);
  // What lies over our root then: the host's, and upon that the storage where it is not the root
  // itself.
  jail::EnterRoot(init_, Step::kEnterRoot, Step::kDetachHost, root_, root_ == storage_ ? 1 : 2);
  if (plan_.read_only)
    Check(Step::kReadOnly, sys::RawSetMountAttributes(root_, kMountReadOnly, false));
}

}  // namespace

void BuildRoot(const Plan& plan, std::span<const int> trees, jail::Init& init) {
  Builder(plan, trees, init).Run();
}

}  // namespace msb::box
