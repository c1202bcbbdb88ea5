// SPDX-License-Identifier: Apache-2.0
#include "init.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace lab {
namespace {

constexpr char kServer[] = "/run/lab/server";

void Warn(const char* what, const char* name) {
  std::fprintf(stderr, "lab: %s %s: %s\n", what, name, std::strerror(errno));
}

bool Mount(const char* type, const char* source, const char* target, unsigned long flags,
           const char* data) {
  mkdir(target, 0755);
  return mount(source, target, type, flags, data) == 0;
}

void MustMount(const char* type, const char* source, const char* target, unsigned long flags,
               const char* data) {
  if (!Mount(type, source, target, flags, data)) Die(target);
}

bool CopyFile(const char* from, const char* to) {
  const int source = open(from, O_RDONLY | O_CLOEXEC);
  const int target = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
  char buffer[65536];
  ssize_t size = -1;
  while (source >= 0 && target >= 0 && (size = read(source, buffer, sizeof buffer)) > 0) {
    if (write(target, buffer, static_cast<size_t>(size)) != size) {
      size = -1;
      break;
    }
  }
  if (source >= 0) close(source);
  if (target >= 0) close(target);
  return size == 0;
}

bool WriteText(const char* path, std::string_view text) {
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  const bool done = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(file);
  return done;
}

// With no symlinks to follow: the folder that an absolute link (/var/run -> /run) names lies
// outside.
void Place(const std::string& root, const char* folder) { mkdir((root + folder).c_str(), 0755); }

bool SetAddress(int any, ifreq& request, unsigned long what, const char* address) {
  sockaddr_in value{};
  value.sin_family = AF_INET;
  inet_pton(AF_INET, address, &value.sin_addr);
  std::memcpy(&request.ifr_addr, &value, sizeof value);
  return ioctl(any, what, &request) == 0;
}

// QEMU's user network: these addresses are its defaults.
void BringUpNetwork() {
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "eth0");
  if (any < 0 || ioctl(any, SIOCGIFFLAGS, &request) != 0) {
    if (any >= 0) close(any);
    return;  // A lab without a network.
  }
  const short flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  rtentry route{};
  sockaddr_in gateway{};
  gateway.sin_family = AF_INET;
  inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
  std::memcpy(&route.rt_gateway, &gateway, sizeof gateway);
  gateway.sin_addr.s_addr = 0;
  std::memcpy(&route.rt_dst, &gateway, sizeof gateway);
  std::memcpy(&route.rt_genmask, &gateway, sizeof gateway);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  bool done = SetAddress(any, request, SIOCSIFADDR, "10.0.2.15") &&
              SetAddress(any, request, SIOCSIFNETMASK, "255.255.255.0");
  request.ifr_flags = flags;
  done = done && ioctl(any, SIOCSIFFLAGS, &request) == 0 && ioctl(any, SIOCADDRT, &route) == 0;
  if (!done) Warn("bring up", "eth0");
  close(any);
  unlink("/etc/resolv.conf");
  WriteText("/etc/resolv.conf", "nameserver 10.0.2.3\n");
}

void BringUpLoopback() {
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (any < 0 || ioctl(any, SIOCGIFFLAGS, &request) != 0) return Warn("bring up", "lo");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  if (ioctl(any, SIOCSIFFLAGS, &request) != 0) Warn("bring up", "lo");
  close(any);
}

// The cgroup that this process is in, as a folder.
std::string OwnCgroup() {
  char line[512] = {};
  const int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    if (read(file, line, sizeof line - 1) < 0) line[0] = '\0';
    close(file);
  }
  const char* path = std::strncmp(line, "0::", 3) == 0 ? line + 3 : "/";
  const std::string name(path, std::strcspn(path, "\n"));
  return name == "/" ? "/sys/fs/cgroup" : "/sys/fs/cgroup" + name;
}

// Idle: when nothing of the start is left to do, so that whoever gets an answer finds a system that
// runs.
constexpr char kService[] = R"([Unit]
Description=carries the commands of tools/lab
DefaultDependencies=no
After=basic.target dbus.service
[Service]
Type=idle
ExecStart=/run/lab/server --service
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=65536:1048576
StandardError=tty
TTYPath=/dev/console
)";
// Not the host's default target: what the host runs at its start is no business of the lab.
constexpr char kTarget[] = R"([Unit]
Description=the lab
Requires=basic.target lab.service
Wants=dbus.service systemd-logind.service
After=basic.target dbus.service systemd-logind.service
AllowIsolate=yes
)";
// What a start has for real hardware and for what the host keeps: each costs seconds here.
constexpr const char* kMasked[] = {"systemd-timesyncd.service",
                                   "systemd-pstore.service",
                                   "systemd-networkd.service",
                                   "systemd-resolved.service",
                                   "systemd-firstboot.service",
                                   "systemd-update-utmp.service",
                                   "systemd-remount-fs.service",
                                   "systemd-modules-load.service",
                                   "systemd-binfmt.service",
                                   "systemd-sysctl.service",
                                   "systemd-sysusers.service",
                                   "systemd-tmpfiles-setup.service",
                                   "systemd-tmpfiles-setup-dev.service",
                                   "systemd-journal-flush.service",
                                   "systemd-ask-password-console.path",
                                   "systemd-machine-id-commit.service",
                                   "systemd-random-seed.service",
                                   "modprobe@.service",
                                   "kmod-static-nodes.service",
                                   "networking.service",
                                   "cryptsetup.target",
                                   "integritysetup.target",
                                   "veritysetup.target",
                                   "proc-sys-fs-binfmt_misc.automount",
                                   "timers.target"};

}  // namespace

void Die(const char* what) {
  Warn("cannot start:", what);
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

const char* Option(const char* name) {
  static char line[4096];
  if (line[0] == '\0') {
    const int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t size = file < 0 ? -1 : read(file, line, sizeof line - 1);
    line[size > 0 ? size : 0] = '\0';
    if (file >= 0) close(file);
  }
  static char value[256];
  const std::string wanted = std::string("lab.") + name + "=";
  value[0] = '\0';
  const char* at = std::strstr(line, wanted.c_str());
  if (at != nullptr)
    std::snprintf(value, sizeof value, "%.*s",
                  static_cast<int>(std::strcspn(at + wanted.size(), " \n")), at + wanted.size());
  return value;
}

void AssembleRoot() {
  MustMount("proc", "proc", "/proc", 0, nullptr);
  MustMount("sysfs", "sysfs", "/sys", 0, nullptr);
  MustMount("devtmpfs", "dev", "/dev", 0, nullptr);
  MustMount("virtiofs", "host", "/lower", MS_RDONLY, nullptr);
  // A bare root gets gigabytes of packages and objects, which memory would not hold.
  if (std::strcmp(Option("layer"), "disk") == 0) {
    MustMount("ext4", "/dev/vda", "/layer", 0, nullptr);
  } else {
    MustMount("tmpfs", "layer", "/layer", 0, "size=80%");
  }
  mkdir("/layer/upper", 0755);
  mkdir("/layer/work", 0755);
  MustMount("overlay", "root", "/root", 0,
            "lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work");
  const std::string root = "/root";
  for (const char* folder : {"/proc", "/sys", "/dev", "/run", "/tmp", "/lab", "/lab/ext4"})
    Place(root, folder);
  for (const char* each : {"/proc", "/sys", "/dev"}) {
    if (mount(each, (root + each).c_str(), nullptr, MS_MOVE, nullptr) != 0) Die(each);
  }
  MustMount("tmpfs", "run", "/root/run", MS_NOSUID | MS_NODEV, "mode=755");
  Place(root, "/run/lab");
  if (!CopyFile("/init", (root + kServer).c_str())) Die("copy the server");
  if (chdir("/root") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 ||
      chdir("/") != 0) {
    Die("change the root");
  }
}

void MountRest() {
  MustMount("devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  MustMount("tmpfs", "shm", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  MustMount("cgroup2", "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  Mount("mqueue", "mqueue", "/dev/mqueue", 0, nullptr);
  mount("debugfs", "/sys/kernel/debug", "debugfs", 0, nullptr);
  mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr);
  mount("securityfs", "/sys/kernel/security", "securityfs", 0, nullptr);
  mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr);
  symlink("/proc/self/fd", "/dev/fd");
  symlink("/proc/self/fd/0", "/dev/stdin");
  symlink("/proc/self/fd/1", "/dev/stdout");
  symlink("/proc/self/fd/2", "/dev/stderr");
  const rlimit files{65536, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &files);
  sethostname("lab", 3);
  BringUpLoopback();
}

std::string SettleIn() {
  // As udev would: whoever may use them elsewhere may use them here.
  for (const char* device :
       {"/dev/kvm", "/dev/net/tun", "/dev/fuse", "/dev/vhost-net", "/dev/vhost-vsock"}) {
    chmod(device, 0666);
  }
  BringUpNetwork();
  if (mount("/dev/vda", "/lab/ext4", "ext4", 0, nullptr) != 0) Warn("mount", "/lab/ext4");
  // Dropping caches (the server does) without a line in the kernel's log each time.
  WriteText("/proc/sys/vm/drop_caches", "4");
  const std::string own = OwnCgroup();
  // Controllers are given to the children of a cgroup without processes of its own; the top may
  // have both.
  mkdir((own + "/server").c_str(), 0755);
  WriteText((own + "/server/cgroup.procs").c_str(), "0");
  for (const char* controller : {"+cpu", "+cpuset", "+memory", "+io", "+pids", "+hugetlb"}) {
    WriteText((own + "/cgroup.subtree_control").c_str(), controller);
  }
  const std::string runs = own + "/lab";
  mkdir(runs.c_str(), 0755);
  return runs;
}

void BecomeSystemd() {
  Place("/run", "/systemd");
  Place("/run/systemd", "/system");
  WriteText("/run/systemd/system/lab.service", kService);
  WriteText("/run/systemd/system/lab.target", kTarget);
  for (const char* unit : kMasked)
    symlink("/dev/null", (std::string("/run/systemd/system/") + unit).c_str());
  WriteText("/etc/fstab", "");
  WriteText("/etc/hostname", "lab\n");
  char name[] = "/lib/systemd/systemd";
  char target[] = "--unit=lab.target";
  char* arguments[] = {name, target, nullptr};
  execv(name, arguments);
  Die(name);
}

}  // namespace lab
