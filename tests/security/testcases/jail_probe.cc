// SPDX-License-Identifier: Apache-2.0
// Runs in the jail in QEMU's place and tries to get out. Each word of the command line is one
// attempt; it prints "NAME: what came of it". Attempts that the filter answers with death come last
// on a command line of their own.

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

void Say(const char* name, long rc) {
  if (rc == -1)
    std::printf("%s: %s\n", name, strerrorname_np(errno));
  else
    std::printf("%s: got %ld\n", name, rc);
  std::fflush(stdout);
}

void OpenPaths() {
  for (const char* path :
       {"/etc/passwd", "/etc/shadow", "/home", "/root", "/proc", "/proc/self/status", "/sys",
        "/dev", "/dev/kvm", "/dev/mem", "/run", "/var", "/tmp", "/usr/bin/sudo", "/bin/sh",
        "/given/../etc/passwd", "/../../../../etc/passwd"})
    Say((std::string("open ") + path).c_str(), ::open(path, O_RDONLY));
  Say("create", ::open("/new", O_CREAT | O_WRONLY, 0600));
  Say("write root", ::open("/", O_TMPFILE | O_RDWR, 0600));
  Say("write given", ::open("/given", O_WRONLY));
  Say("truncate given", ::open("/given", O_RDWR | O_TRUNC));
  Say("mkdir", ::mkdir("/d", 0700));
  Say("unlink", ::unlink("/given"));
  Say("chmod", ::chmod("/given", 0777));
}

void ListDescriptors() {
  std::printf("descriptors:");
  for (int fd = 0; fd < 4096; fd++)
    if (::fcntl(fd, F_GETFD) != -1) std::printf(" %d", fd);
  std::printf("\n");
}

void Identity() {
  uid_t r, e, s;
  ::syscall(SYS_getresuid, &r, &e, &s);
  utsname name;
  ::uname(&name);
  rlimit core{}, files{};
  ::getrlimit(RLIMIT_CORE, &core);
  ::getrlimit(RLIMIT_NOFILE, &files);
  std::printf("uid %u\ngid %u\ngroups %d\npid %d\nhost %s\ncore %lu\nfiles %lu\n", ::getuid(),
              ::getgid(), ::getgroups(0, nullptr), ::getpid(), name.nodename, core.rlim_max,
              files.rlim_max);
  std::printf("env %s\n", environ[0] == nullptr ? "empty" : environ[0]);
  char* none[] = {nullptr};
  (void)none;
}

void Threads() {
  long made = 0;
  for (; made < 100'000; made++) {
    pthread_t thread;
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, 65536);
    if (::pthread_create(
            &thread, &attributes,
            [](void*) -> void* {
              ::pause();
              for (;;) ::poll(nullptr, 0, -1);
            },
            nullptr) != 0)
      break;
  }
  std::printf("threads: %ld\n", made);
}

void EatMemory() {
  size_t got = 0;
  for (; got < (4096ul << 20); got += 1 << 20) {
    void* page =
        ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) break;
    std::memset(page, 1, 1 << 20);
  }
  std::printf("memory: %zu\n", got >> 20);
}

void Attempt(const std::string& name) {
  char* none[] = {nullptr};
  if (name == "paths") return OpenPaths();
  if (name == "descriptors") return ListDescriptors();
  if (name == "identity") return Identity();
  if (name == "threads") return Threads();
  if (name == "memory") return EatMemory();
  long rc = -2;
  if (name == "socket") rc = ::socket(AF_INET, SOCK_STREAM, 0);
  if (name == "unix-socket") rc = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (name == "netlink") rc = ::socket(AF_NETLINK, SOCK_RAW, 0);
  if (name == "kill-all") rc = ::kill(-1, SIGKILL);
  if (name == "kill-init") rc = ::kill(1, SIGKILL);
  if (name == "fork") rc = ::syscall(SYS_fork);
  if (name == "clone-userns") rc = ::syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0);
  if (name == "clone3") rc = ::syscall(SYS_clone3, nullptr, 0);
  if (name == "unshare") rc = ::syscall(SYS_unshare, 0x10000000);
  if (name == "setns") rc = ::syscall(SYS_setns, 0, 0);
  if (name == "mount") rc = ::mount("none", "/", "tmpfs", 0, nullptr);
  if (name == "remount") rc = ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr);
  if (name == "open_tree") rc = ::syscall(428, AT_FDCWD, "/", 1);
  if (name == "pivot_root") rc = ::syscall(SYS_pivot_root, "/", "/");
  if (name == "chroot") rc = ::syscall(SYS_chroot, "/");
  if (name == "ptrace") rc = ::ptrace(PTRACE_TRACEME, 0, 0, 0);
  if (name == "process_vm") rc = ::syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0);
  if (name == "setuid") rc = ::syscall(SYS_setresuid, 0, 0, 0);
  if (name == "setgroups") rc = ::syscall(SYS_setgroups, 0, 0);
  if (name == "exec-self") rc = ::syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", none, none, 0);
  if (name == "execve") rc = ::syscall(SYS_execve, "/lib64/ld-linux-x86-64.so.2", none, none);
  if (name == "exec-fd") {
    // The one door of the filter: Landlock must be behind it.
    int file = ::open("/given", O_RDONLY);
    ::dup2(file, 250);
    rc = ::syscall(SYS_execveat, 250, "", none, none, AT_EMPTY_PATH);
  }
  if (name == "exec-memfd") {
    int file = ::memfd_create("x", 0);
    if (::write(file, "#!/x\n", 5) != 5) rc = 0;
    ::dup2(file, 250);
    rc = ::syscall(SYS_execveat, 250, "", none, none, AT_EMPTY_PATH);
  }
  if (name == "memfd") rc = ::memfd_create("x", 0);
  if (name == "bpf") rc = ::syscall(SYS_bpf, 0, 0, 0);
  if (name == "io_uring") rc = ::syscall(425, 1, 0);
  if (name == "userfaultfd") rc = ::syscall(SYS_userfaultfd, 0);
  if (name == "keyctl") rc = ::syscall(SYS_keyctl, 0, 0, 0, 0, 0);
  if (name == "perf") rc = ::syscall(SYS_perf_event_open, 0, 0, 0, 0, 0);
  if (name == "handle") rc = ::syscall(SYS_open_by_handle_at, 0, 0, 0);
  if (name == "raise-limit") {
    rlimit more{1 << 20, 1 << 20};
    rc = ::setrlimit(RLIMIT_NOFILE, &more);
  }
  if (name == "raise-core") {
    rlimit more{RLIM_INFINITY, RLIM_INFINITY};
    rc = ::setrlimit(RLIMIT_CORE, &more);
  }
  if (name == "tiocsti") rc = ::syscall(SYS_ioctl, 0, 0x5412, "x");
  if (name == "tgkill-init") rc = ::syscall(SYS_tgkill, 1, 1, SIGKILL);
  if (name == "crash") ::abort();
  Say(name.c_str(), rc);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; i++) Attempt(argv[i]);
  return 0;
}
