// SPDX-License-Identifier: Apache-2.0
// The floor of a process sandbox: as little as can be called one, with no check that is not needed
// to see a failure. What bench/process/run measures microbox against.
//
//   floor ROOT COMMAND...
//
// All eight namespaces in one clone3, id maps, an overlay of ROOT on a tmpfs, /proc, a /dev of six
// nodes, pivot_root, an init that waits, exec. No cgroup, no seccomp, no Landlock, no limit.

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

void Must(const char* what, long rc) {
  if (rc != -1) return;
  std::perror(what);
  ::_exit(125);
}

void WriteFile(const char* path, const char* text) {
  int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  Must(path, fd);
  Must(path, ::write(fd, text, std::strlen(text)));
  ::close(fd);
}

void WriteMap(int pid, const char* name) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/%s_map", pid, name);
  char map[64];
  if (::geteuid() == 0)
    std::snprintf(map, sizeof map, "0 0 65536\n");
  else
    std::snprintf(map, sizeof map, "0 %u 1\n", name[0] == 'u' ? ::geteuid() : ::getegid());
  WriteFile(path, map);
}

void BuildRoot(const char* root) {
  Must("private", ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  Must("tmpfs", ::mount("none", "/tmp", "tmpfs", 0, "size=512m"));
  Must("upper", ::mkdir("/tmp/u", 0755));
  Must("work", ::mkdir("/tmp/w", 0755));
  Must("root", ::mkdir("/tmp/r", 0755));
  char options[4200];
  std::snprintf(options, sizeof options, "lowerdir=%s,upperdir=/tmp/u,workdir=/tmp/w,userxattr",
                root);
  Must("overlay", ::mount("none", "/tmp/r", "overlay", 0, options));
  Must("proc", ::mount("proc", "/tmp/r/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  Must("dev", ::mount("none", "/tmp/r/dev", "tmpfs", MS_NOSUID, "size=64k"));
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    char from[32], to[32];
    std::snprintf(from, sizeof from, "/dev/%s", name);
    std::snprintf(to, sizeof to, "/tmp/r/dev/%s", name);
    int fd = ::open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    Must(to, fd);
    ::close(fd);
    Must(to, ::mount(from, to, nullptr, MS_BIND, nullptr));
  }
  Must("chdir", ::chdir("/tmp/r"));
  Must("pivot_root", ::syscall(SYS_pivot_root, ".", "."));
  Must("umount", ::umount2(".", MNT_DETACH));
  Must("chdir", ::chdir("/"));
}

[[noreturn]] void RunInit(int go, char** argv) {
  char byte;
  Must("go", ::read(go, &byte, 1));
  Must("setresgid", ::syscall(SYS_setresgid, 0, 0, 0));
  Must("setresuid", ::syscall(SYS_setresuid, 0, 0, 0));
  BuildRoot(argv[1]);
  pid_t command = ::fork();
  Must("fork", command);
  if (command == 0) {
    Must("setsid", ::setsid());
    ::execvp(argv[2], argv + 2);
    ::_exit(127);
  }
  int status = 0;
  Must("waitpid", ::waitpid(command, &status, 0));
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: floor ROOT COMMAND...\n", stderr);
    return 125;
  }
  int go[2];
  Must("pipe", ::pipe2(go, O_CLOEXEC));
  clone_args args;
  std::memset(&args, 0, sizeof args);
  args.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
               CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  Must("clone3", pid);
  if (pid == 0) RunInit(go[0], argv);
  if (::geteuid() != 0) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%ld/setgroups", pid);
    WriteFile(path, "deny");
  }
  WriteMap(static_cast<int>(pid), "uid");
  WriteMap(static_cast<int>(pid), "gid");
  Must("go", ::write(go[1], "x", 1));
  int status = 0;
  Must("waitpid", ::waitpid(static_cast<pid_t>(pid), &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
